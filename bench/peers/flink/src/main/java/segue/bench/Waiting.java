package segue.bench;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;

/** Events that wait until none can come before them. Those of one partition of a topic come in order, and are merged. */
final class Waiting {
    private static final Comparator<ArrayDeque<Event>> ORDER = Comparator.comparingLong(queue -> queue.peek().arrived());

    private final Map<Integer, ArrayDeque<Event>> queues = new HashMap<>();
    /** Those of them that hold something. */
    private final PriorityQueue<ArrayDeque<Event>> merged = new PriorityQueue<>(ORDER);

    void add(Event event) {
        int partition = event.partition() * Events.TOPICS.length + event.kind();
        ArrayDeque<Event> queue = queues.computeIfAbsent(partition, absent -> new ArrayDeque<>());
        queue.add(event);
        if (queue.size() == 1) {
            merged.add(queue);
        }
    }

    /** The next in order if it arrived by then, or null. */
    Event next(long until) {
        if (merged.isEmpty() || merged.peek().peek().arrived() > until) {
            return null;
        }
        ArrayDeque<Event> queue = merged.poll();
        Event event = queue.poll();
        if (!queue.isEmpty()) {
            merged.add(queue);
        }
        return event;
    }

    List<Event> all() {
        List<Event> all = new ArrayList<>();
        queues.values().forEach(all::addAll);
        return all;
    }
}
