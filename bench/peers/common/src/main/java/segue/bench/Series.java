package segue.bench;

/**
 * A sliding window over one kind of event: an entry for each instant while they are few, equal buckets when they are many,
 * by the same rule as segue's (128 instants, 64 buckets, powers of two).
 */
final class Series {
    private static final int INSTANTS_MAX = 128;
    private static final int BUCKETS_MAX = 64;
    private static final long[] NONE = {};

    /** How entries are joined: {@code ADD} for counts and sums, {@code MAX} for the greatest. */
    enum Join { ADD, MAX }

    final long window;
    private final Join join;
    private int size;
    private long[] youngest = NONE;
    private long[] value = NONE;

    Series(long window, Join join) {
        this.window = window;
        this.join = join;
    }

    void add(long at, long now, long amount) {
        long earliest = now - window + 1;
        if (at < earliest) {
            return;
        }
        int gone = place(earliest);
        if (gone > 0) {
            size -= gone;
            System.arraycopy(youngest, gone, youngest, 0, size);
            System.arraycopy(value, gone, value, 0, size);
        }
        int place = place(at);
        if (place < size && youngest[place] == at) {
            value[place] = joined(value[place], amount);
            return;
        }
        if (size == youngest.length) {
            int room = Math.max(2, size * 2);
            youngest = java.util.Arrays.copyOf(youngest, room);
            value = java.util.Arrays.copyOf(value, room);
        }
        System.arraycopy(youngest, place, youngest, place + 1, size - place);
        System.arraycopy(value, place, value, place + 1, size - place);
        youngest[place] = at;
        value[place] = amount;
        size++;
        if (size > INSTANTS_MAX) {
            merge();
        }
    }

    private long joined(long a, long b) {
        return join == Join.ADD ? a + b : Math.max(a, b);
    }

    /** The first entry at {@code at} or later. */
    private int place(long at) {
        int low = 0;
        int high = size;
        while (low < high) {
            int middle = (low + high) >>> 1;
            if (youngest[middle] < at) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    private void merge() {
        int shift = shiftFor(youngest, size);
        int kept = 0;
        for (int i = 0; i < size; i++) {
            if (kept > 0 && youngest[kept - 1] >> shift == youngest[i] >> shift) {
                youngest[kept - 1] = youngest[i];
                value[kept - 1] = joined(value[kept - 1], value[i]);
            } else {
                youngest[kept] = youngest[i];
                value[kept] = value[i];
                kept++;
            }
        }
        size = kept;
    }

    static int shiftFor(long[] youngest, int size) {
        for (int shift = 1; shift < 63; shift++) {
            int count = 1;
            for (int i = 1; i < size; i++) {
                if (youngest[i] >> shift != youngest[i - 1] >> shift) {
                    count++;
                }
            }
            if (count <= BUCKETS_MAX) {
                return shift;
            }
        }
        return 63;
    }

    static boolean isFull(int size) {
        return size > INSTANTS_MAX;
    }

    /**
     * Until when the total (or the greatest) is at least {@code threshold} if nothing else happens; {@code Long.MIN_VALUE}
     * if it is less at {@code now}.
     */
    long holdsUntil(long now, long threshold) {
        long total = 0;
        for (int i = size - 1; i >= 0 && youngest[i] > now - window; i--) {
            total = joined(total, value[i]);
            if (total >= threshold) {
                return youngest[i] + window;
            }
        }
        return Long.MIN_VALUE;
    }

    void write(Buffer out, long origin) {
        out.unsigned(size);
        for (int i = 0; i < size; i++) {
            out.signed(origin - youngest[i]);
            out.unsigned(value[i]);
        }
    }

    void read(Buffer in, long origin) {
        size = (int) in.unsigned();
        if (size > youngest.length) {
            youngest = new long[size];
            value = new long[size];
        }
        for (int i = 0; i < size; i++) {
            youngest[i] = origin - in.signed();
            value[i] = in.unsigned();
        }
    }
}
