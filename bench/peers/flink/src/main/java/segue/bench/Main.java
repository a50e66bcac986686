package segue.bench;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import sun.misc.Signal;

/** {@code Main BROKERS STATE_DIRECTORY PARALLELISM CHECKPOINT_MS}: runs until it is asked to end. */
public final class Main {
    private static final String CHANGES = "flink-changes";

    private Main() {
    }

    public static void main(String[] args) throws Exception {
        Path directory = Path.of(args[1]).toAbsolutePath();
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(
            Integer.parseInt(args[2]), settings(directory, Duration.ofMillis(Long.parseLong(args[3]))));
        environment.fromSource(source(args[0]), order(), "events", Event.TYPE)
            .keyBy(Event::customer, Types.STRING)
            .transform("segments",
                Types.TUPLE(PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO, PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO),
                new Segmenter())
            .sinkTo(sink(args[0]));
        JobClient job = environment.executeAsync();
        Signal.handle(new Signal("TERM"), signal -> end(job, directory));
        try {
            job.getJobExecutionResult().get();
        } catch (Exception error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    /** Ends after a last checkpoint, which makes changes visible that are on their way. */
    private static void end(JobClient job, Path directory) {
        try {
            job.stopWithSavepoint(false, directory.resolve("end").toUri().toString(), SavepointFormatType.NATIVE).get();
            System.exit(0);
        } catch (Exception error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    private static Configuration settings(Path directory, Duration checkpointInterval) {
        Configuration settings = new Configuration();
        settings.setString("io.tmp.dirs", directory.resolve("work").toString());
        settings.setString("state.backend.type", "rocksdb");
        settings.setString("state.backend.rocksdb.use-bloom-filter", "true");
        settings.setString("state.backend.rocksdb.compression.per.level", "LZ4_COMPRESSION");
        settings.setString("state.backend.rocksdb.writebuffer.size", "64mb");
        settings.setString("state.backend.rocksdb.thread.num", "2");
        // One timer for each customer has room on the heap, where it costs less.
        settings.setString("state.backend.rocksdb.timer-service.factory", "HEAP");
        settings.setString("taskmanager.memory.managed.size", "1gb");
        settings.setString("execution.checkpointing.interval", checkpointInterval.toMillis() + "ms");
        settings.setString("execution.checkpointing.mode", "EXACTLY_ONCE");
        settings.setString("execution.checkpointing.incremental", "true");
        settings.setString("execution.checkpointing.storage", "filesystem");
        settings.setString("execution.checkpointing.dir", directory.resolve("checkpoints").toUri().toString());
        settings.setString("pipeline.object-reuse", "true");
        settings.setString("pipeline.generic-types", "false");
        settings.setString("pipeline.auto-watermark-interval", "100ms");
        settings.setString("restart-strategy.type", "none");
        return settings;
    }

    private static KafkaSource<Event> source(String brokers) {
        return KafkaSource.<Event>builder()
            .setBootstrapServers(brokers)
            .setGroupId("flink")
            .setTopics(Events.TOPICS)
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setDeserializer(new Arrivals())
            .setProperty("partition.discovery.interval.ms", "-1")
            .setProperty(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, "5000")
            .setProperty(ConsumerConfig.FETCH_MAX_BYTES_CONFIG, Integer.toString(16 << 20))
            .build();
    }

    /**
     * The clock goes by the partition of a topic that is furthest behind, and none is read more than a day ahead of it, so that
     * few events have to wait. Partitions without events do not count.
     */
    private static WatermarkStrategy<Event> order() {
        return WatermarkStrategy.<Event>forMonotonousTimestamps()
            .withTimestampAssigner((event, timestamp) -> event.arrived())
            .withIdleness(Duration.ofSeconds(10))
            .withWatermarkAlignment("events", Duration.ofDays(1), Duration.ofMillis(100));
    }

    private static KafkaSink<Tuple2<byte[], byte[]>> sink(String brokers) {
        Properties producer = new Properties();
        producer.setProperty(ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4");
        producer.setProperty(ProducerConfig.LINGER_MS_CONFIG, "20");
        producer.setProperty(ProducerConfig.BATCH_SIZE_CONFIG, Integer.toString(256 << 10));
        producer.setProperty(ProducerConfig.BUFFER_MEMORY_CONFIG, Integer.toString(64 << 20));
        // The broker allows no more than a quarter of an hour.
        producer.setProperty(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG, "600000");
        return KafkaSink.<Tuple2<byte[], byte[]>>builder()
            .setBootstrapServers(brokers)
            .setKafkaProducerConfig(producer)
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix("flink")
            .setRecordSerializer((change, context, at) -> new ProducerRecord<>(CHANGES, null, at, change.f0, change.f1))
            .build();
    }
}
