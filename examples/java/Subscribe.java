// Prints each change of membership once, as it happens: java -cp 'libs/*' Subscribe.java [BROKERS [TOPIC [COUNT]]]
//
// Changes are read with isolation.level=read_committed, so that those of aborted transactions are never seen. The position is
// committed after changes were handled: after a crash the last ones come again, with the same change_id, which is how they
// are told.

import java.io.File;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

public class Subscribe {
    public static void main(String[] args) throws Exception {
        String brokers = args.length > 0 ? args[0] : "localhost:9092";
        String topic = args.length > 1 ? args[1] : "segment-changes";
        long count = args.length > 2 ? Long.parseLong(args[2]) : Long.MAX_VALUE;
        Schema schema = new Schema.Parser().parse(new File("schemas/segment_change.avsc"));
        Properties settings = new Properties();
        settings.put("bootstrap.servers", brokers);
        settings.put("group.id", "java-subscriber");
        settings.put("auto.offset.reset", "earliest");
        settings.put("isolation.level", "read_committed");
        settings.put("enable.auto.commit", "false");

        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(topic));
            for (long handled = 0; handled < count; ) {
                for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    System.out.println(told(record, schema));
                    handled++;
                }
                consumer.commitSync();
            }
        }
    }

    /** A change in words. What a router needs is in the headers: CloudEvents, binary mode. */
    private static String told(ConsumerRecord<String, byte[]> record, Schema schema) throws Exception {
        String words = record.key() + " " + header(record, "ce_type") + " " + header(record, "ce_subject") + " "
            + header(record, "ce_time") + " " + header(record, "ce_id");
        if (!header(record, "content-type").equals("application/avro")) {
            return words + " " + new String(record.value(), StandardCharsets.UTF_8);
        }
        // A registry's wire format has 5 bytes before the record, Avro's single-object encoding 10.
        int before = record.value()[0] == 0 ? 5 : 10;
        var decoder = DecoderFactory.get().binaryDecoder(record.value(), before, record.value().length - before, null);
        GenericRecord change = new GenericDatumReader<GenericRecord>(schema).read(null, decoder);
        return words + " sequence " + change.get("sequence") + " because of " + change.get("cause");
    }

    private static String header(ConsumerRecord<String, byte[]> record, String name) {
        var header = record.headers().lastHeader(name);
        return header == null ? "" : new String(header.value(), StandardCharsets.UTF_8);
    }
}
