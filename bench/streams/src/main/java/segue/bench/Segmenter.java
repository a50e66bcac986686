package segue.bench;

import java.nio.charset.StandardCharsets;
import java.util.PriorityQueue;
import java.util.Set;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.StoreBuilder;

/** Decodes events by hand, reading no more of them than the segments need, and keeps customers and their deadlines. */
final class Segmenter implements Processor<String, byte[], byte[], byte[]> {
    private static final long GRACE = 1_000;
    private static final byte[] RUNNING = "running".getBytes(StandardCharsets.UTF_8);
    private static final byte[] NEWSLETTER = "newsletter".getBytes(StandardCharsets.UTF_8);
    /** The marker and the fingerprint of the single-object encoding. */
    private static final int HEADER = 10;

    private record Due(long at, String customer) implements Comparable<Due> {
        @Override
        public int compareTo(Due other) {
            return Long.compare(at, other.at);
        }
    }

    private ProcessorContext<byte[], byte[]> context;
    private ProfileStore profiles;
    private final PriorityQueue<Due> deadlines = new PriorityQueue<>();
    private final Buffer in = new Buffer(new byte[0]);
    private final Buffer out = new Buffer(new byte[256]);
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
        in.bytes = record.value();
        in.at = HEADER;
        in.skipText();
        in.skipText();
        long at = in.signed();
        clock = Math.max(clock, at - GRACE);
        passDeadlines();
        begin(record.key());
        Profile profile = profiles.take(customer);
        String topic = context.recordMetadata().orElseThrow().topic();
        // The names differ in their first letters.
        switch (topic.charAt(1)) {
            case 'l' -> click(profile, at);
            case 'u' -> purchase(profile, at);
            default -> abandonment(profile, at);
        }
        list(profile);
        if (at < clock) {
            passDeadlines();
        }
    }

    private void begin(String customer) {
        this.customer = customer;
        key = null;
    }

    private void click(Profile profile, long at) {
        in.skipMaybe();
        int length = in.maybe();
        long product = 0;
        if (length >= 0) {
            product = in.hash(length);
            in.at += length;
        }
        length = in.maybe();
        boolean isRunning = length >= 0 && in.is(length, RUNNING);
        in.at += Math.max(length, 0);
        in.skipMaybe();
        in.skipMaybe();
        in.skipMaybe();
        length = in.maybe();
        int device = length < 0 ? -1 : Devices.named(in.bytes, in.at, length);
        in.at += Math.max(length, 0);
        in.skipMaybe();
        in.skipMaybe();
        length = in.maybe();
        boolean isNewsletter = length >= 0 && in.is(length, NEWSLETTER);
        profile.click(at, isRunning, device, product, isNewsletter, changes);
    }

    private void purchase(Profile profile, long at) {
        in.skipText();
        int length = in.maybe();
        long cart = 0;
        if (length >= 0) {
            cart = in.hash(length);
            in.at += length;
        }
        profile.purchase(at, in.decimal(), cart, changes);
    }

    private void abandonment(Profile profile, long at) {
        int length = (int) in.signed();
        long cart = in.hash(length);
        in.at += length;
        profile.abandonment(at, in.decimal(), cart, changes);
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
        out.at = 0;
        out.text(customer);
        out.text(segment);
        out.unsigned(entered ? 1 : 0);
        out.signed(at);
        out.signed(sequence);
        context.forward(new Record<>(key, out.toBytes(), Math.max(at, 0)));
    }
}
