package segue.bench;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.apache.flink.api.common.TaskInfo;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.InternalTimer;
import org.apache.flink.streaming.api.operators.InternalTimerService;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.operators.Triggerable;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;

/**
 * Applies events to their customers in the order of all topics together, and keeps deadlines as timers.
 *
 * <p>Topics are read at different speeds, so that an event waits on the heap until the watermark says that no earlier one can
 * come: the work of a {@code KeyedProcessFunction} that keeps events in its state until a timer fires, without a timer and
 * two accesses to RocksDB for each.
 */
final class Segmenter extends AbstractStreamOperator<Tuple2<byte[], byte[]>>
    implements OneInputStreamOperator<Event, Tuple2<byte[], byte[]>>, Triggerable<String, VoidNamespace> {
    private static final long serialVersionUID = 1;

    private transient Waiting waiting;
    private transient ListState<Event> waitingState;
    private transient ValueState<Profile> profiles;
    private transient InternalTimerService<VoidNamespace> deadlines;
    private transient Events events;
    private transient ChangeFormat format;
    private transient StreamRecord<Tuple2<byte[], byte[]>> out;
    private transient String customer;
    private transient byte[] key;
    private transient Profile.Changes changes;

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        waiting = new Waiting();
        waitingState = context.getOperatorStateStore().getUnionListState(new ListStateDescriptor<>("waiting", Event.TYPE));
        // Each instance is given what waited for all of them.
        List<Event> own = new ArrayList<>();
        for (Event event : waitingState.get()) {
            if (isOwn(event.customer())) {
                own.add(event);
            }
        }
        own.sort(Comparator.comparingLong(Event::arrived));
        own.forEach(waiting::add);
    }

    private boolean isOwn(String customer) {
        TaskInfo task = getRuntimeContext().getTaskInfo();
        return task.getIndexOfThisSubtask() == KeyGroupRangeAssignment.assignKeyToParallelOperator(
            customer, task.getMaxNumberOfParallelSubtasks(), task.getNumberOfParallelSubtasks());
    }

    @Override
    public void snapshotState(StateSnapshotContext context) throws Exception {
        super.snapshotState(context);
        waitingState.update(waiting.all());
    }

    @Override
    public void open() throws Exception {
        super.open();
        profiles = getRuntimeContext().getState(new ValueStateDescriptor<>("profiles", new ProfileSerializer()));
        deadlines = getInternalTimerService("deadlines", VoidNamespaceSerializer.INSTANCE, this);
        events = new Events();
        format = new ChangeFormat();
        out = new StreamRecord<>(null);
        changes = this::emit;
    }

    /** Keys are set when events are applied. */
    @Override
    @SuppressWarnings("rawtypes")
    public void setKeyContextElement1(StreamRecord record) {
    }

    @Override
    public void processElement(StreamRecord<Event> record) {
        waiting.add(record.getValue());
    }

    /** No partition of a topic has anything to come from before this: the events before it are in order now. */
    @Override
    public void processWatermark(Watermark watermark) throws Exception {
        long until = watermark.getTimestamp();
        for (Event event = waiting.next(until); event != null; event = waiting.next(until)) {
            apply(event);
        }
        super.processWatermark(new Watermark(until - Events.GRACE));
    }

    private void apply(Event event) throws Exception {
        begin(event.customer());
        setCurrentKey(customer);
        Profile profile = profiles.value();
        if (profile == null) {
            profile = new Profile();
        }
        events.begin(event.value());
        events.apply(event.kind(), profile, changes);
        profiles.update(profile);
        // A timer for an earlier instant looks again when it fires.
        if (profile.deadline() < profile.listed) {
            deadlines.registerEventTimeTimer(VoidNamespace.INSTANCE, profile.deadline());
        }
    }

    @Override
    public void onEventTime(InternalTimer<String, VoidNamespace> timer) throws Exception {
        begin(timer.getKey());
        Profile profile = profiles.value();
        long clock = deadlines.currentWatermark();
        if (profile.deadline() <= clock) {
            profile.elapse(clock + 1, changes);
            profiles.update(profile);
        }
        if (profile.deadline() != Profile.NEVER) {
            deadlines.registerEventTimeTimer(VoidNamespace.INSTANCE, profile.deadline());
        }
    }

    @Override
    public void onProcessingTime(InternalTimer<String, VoidNamespace> timer) {
        throw new IllegalStateException("there are no timers of this kind");
    }

    private void begin(String customer) {
        this.customer = customer;
        key = null;
    }

    private void emit(String segment, boolean entered, long at, long sequence) {
        if (key == null) {
            key = customer.getBytes(StandardCharsets.UTF_8);
        }
        byte[] value = format.write(customer, segment, entered, at, sequence);
        output.collect(out.replace(Tuple2.of(key, value), Math.max(at, 0)));
    }
}
