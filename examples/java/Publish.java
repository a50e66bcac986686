// Publishes a purchase of one customer as Avro that needs no registry: java -cp 'libs/*' Publish.java [BROKERS [CUSTOMER]]

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Properties;
import java.util.UUID;
import org.apache.avro.Conversions;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Publish {
    public static void main(String[] args) throws Exception {
        String brokers = args.length > 0 ? args[0] : "localhost:9092";
        String customer = args.length > 1 ? args[1] : "ada";
        Schema schema = new Schema.Parser().parse(new File("schemas/purchase.avsc"));
        GenericRecord purchase = new GenericData.Record(schema);
        purchase.put("event_id", UUID.randomUUID().toString());
        purchase.put("customer_id", customer);
        purchase.put("occurred_at", System.currentTimeMillis());
        purchase.put("order_id", UUID.randomUUID().toString());
        purchase.put("total", decimal(schema, "120.00"));
        purchase.put("currency", "EUR");
        purchase.put("items", List.of());

        // The single-object encoding: a mark, the schema's fingerprint, the record.
        var value = new ByteArrayOutputStream();
        new BinaryMessageEncoder<GenericRecord>(GenericData.get(), schema).encode(purchase, value);

        Properties settings = new Properties();
        settings.put("bootstrap.servers", brokers);
        settings.put("enable.idempotence", "true");
        // The key is the customer; the default partitioner is the one that all other producers must use too.
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer())) {
            producer.send(new ProducerRecord<>("purchases", customer, value.toByteArray())).get();
        }
        System.out.println("a purchase of " + customer + " is published");
    }

    private static ByteBuffer decimal(Schema schema, String number) {
        Schema total = schema.getField("total").schema();
        return new Conversions.DecimalConversion().toBytes(new BigDecimal(number).setScale(4), total, total.getLogicalType());
    }
}
