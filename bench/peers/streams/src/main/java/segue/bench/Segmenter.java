package segue.bench;

import java.nio.charset.StandardCharsets;
import java.util.PriorityQueue;
import java.util.Set;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.StoreBuilder;

/** Applies the events of a partition to its customers, and keeps their deadlines. */
final class Segmenter implements Processor<String, byte[], byte[], byte[]> {
    private record Due(long at, String customer) implements Comparable<Due> {
        @Override
        public int compareTo(Due other) {
            return Long.compare(at, other.at);
        }
    }

    private ProcessorContext<byte[], byte[]> context;
    private ProfileStore profiles;
    private final PriorityQueue<Due> deadlines = new PriorityQueue<>();
    private final Events events = new Events();
    private final ChangeFormat format = new ChangeFormat();
    private long clock = Long.MIN_VALUE;
    private String customer;
    private byte[] key;
    private final Profile.Changes changes = this::emit;

    static ProcessorSupplier<String, byte[], byte[], byte[]> supplier() {
        return new ProcessorSupplier<>() {
            @Override
            public Processor<String, byte[], byte[], byte[]> get() {
                return new Segmenter();
            }

            @Override
            public Set<StoreBuilder<?>> stores() {
                return Set.of(new ProfileStore.Builder());
            }
        };
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        profiles = context.getStateStore(ProfileStore.NAME);
    }

    @Override
    public void process(Record<String, byte[]> record) {
        long at = events.begin(record.value());
        clock = Math.max(clock, at - Events.GRACE);
        passDeadlines();
        begin(record.key());
        Profile profile = profiles.take(customer);
        String topic = context.recordMetadata().orElseThrow().topic();
        events.apply(Events.kind(topic), profile, changes);
        list(profile);
        if (at < clock) {
            passDeadlines();
        }
    }

    private void begin(String customer) {
        this.customer = customer;
        key = null;
    }

    private void list(Profile profile) {
        long deadline = profile.deadline();
        if (deadline < profile.listed || profile.listed < clock) {
            profile.listed = deadline;
            if (deadline != Profile.NEVER) {
                deadlines.add(new Due(deadline, customer));
            }
        }
    }

    private void passDeadlines() {
        while (!deadlines.isEmpty() && deadlines.peek().at < clock) {
            Due due = deadlines.poll();
            begin(due.customer);
            Profile profile = profiles.take(customer);
            profile.elapse(clock, changes);
            profile.listed = Profile.NEVER;
            list(profile);
        }
    }

    private void emit(String segment, boolean entered, long at, long sequence) {
        if (key == null) {
            key = customer.getBytes(StandardCharsets.UTF_8);
        }
        byte[] value = format.write(customer, segment, entered, at, sequence);
        context.forward(new Record<>(key, value, Math.max(at, 0)));
    }
}
