package segue.bench;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** Makes events of Kafka's records, and notes how far time had come in their partition. */
final class Arrivals implements KafkaRecordDeserializationSchema<Event> {
    private static final long serialVersionUID = 1;

    /** By topic and partition: the greatest timestamp so far. */
    private final long[][] reached = new long[Events.TOPICS.length][0];

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Event> out) {
        int kind = Events.kind(record.topic());
        long arrived = reach(kind, record.partition(), record.timestamp());
        String customer = new String(record.key(), StandardCharsets.UTF_8);
        out.collect(new Event(customer, arrived, kind, record.partition(), record.value()));
    }

    private long reach(int kind, int partition, long timestamp) {
        if (partition >= reached[kind].length) {
            reached[kind] = Arrays.copyOf(reached[kind], partition + 1);
        }
        return reached[kind][partition] = Math.max(reached[kind][partition], timestamp);
    }

    @Override
    public TypeInformation<Event> getProducedType() {
        return Event.TYPE;
    }
}
