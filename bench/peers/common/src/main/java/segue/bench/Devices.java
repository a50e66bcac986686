package segue.bench;

/** The most frequent device over a window; of equals, the one seen last. Entries as in {@link Series}. */
final class Devices {
    /** Told apart by their place here; others share the last. */
    static final String[] NAMES = {"mobile", "desktop", "tablet", "other"};

    private final long window;
    private int size;
    private long[] youngest = new long[2];
    /** Of each entry: the counts by device, and the devices in the order in which they were last seen. */
    private int[][] counts = new int[2][];
    private byte[][] order = new byte[2][];

    Devices(long window) {
        this.window = window;
    }

    static int named(byte[] bytes, int from, int length) {
        switch (length == 0 ? 0 : bytes[from]) {
            case 'm':
                return 0;
            case 'd':
                return 1;
            case 't':
                return 2;
            default:
                return 3;
        }
    }

    void add(long at, long now, int device) {
        long earliest = now - window + 1;
        if (at < earliest) {
            return;
        }
        int gone = 0;
        while (gone < size && youngest[gone] < earliest) {
            gone++;
        }
        if (gone > 0) {
            size -= gone;
            System.arraycopy(youngest, gone, youngest, 0, size);
            System.arraycopy(counts, gone, counts, 0, size);
            System.arraycopy(order, gone, order, 0, size);
        }
        int place = size;
        while (place > 0 && youngest[place - 1] >= at) {
            place--;
        }
        if (place == size || youngest[place] != at) {
            if (size == youngest.length) {
                youngest = java.util.Arrays.copyOf(youngest, size * 2);
                counts = java.util.Arrays.copyOf(counts, size * 2);
                order = java.util.Arrays.copyOf(order, size * 2);
            }
            System.arraycopy(youngest, place, youngest, place + 1, size - place);
            System.arraycopy(counts, place, counts, place + 1, size - place);
            System.arraycopy(order, place, order, place + 1, size - place);
            youngest[place] = at;
            counts[place] = new int[NAMES.length];
            order[place] = new byte[0];
            size++;
        }
        counts[place][device]++;
        order[place] = seenLast(order[place], (byte) device);
        if (Series.isFull(size)) {
            merge();
        }
    }

    private static byte[] seenLast(byte[] order, byte device) {
        if (order.length > 0 && order[order.length - 1] == device) {
            return order;
        }
        byte[] after = new byte[NAMES.length];
        int n = 0;
        for (byte other : order) {
            if (other != device) {
                after[n++] = other;
            }
        }
        after[n++] = device;
        return java.util.Arrays.copyOf(after, n);
    }

    private void merge() {
        int shift = Series.shiftFor(youngest, size);
        int kept = 0;
        for (int i = 0; i < size; i++) {
            if (kept > 0 && youngest[kept - 1] >> shift == youngest[i] >> shift) {
                youngest[kept - 1] = youngest[i];
                for (int device = 0; device < NAMES.length; device++) {
                    counts[kept - 1][device] += counts[i][device];
                }
                for (byte device : order[i]) {
                    order[kept - 1] = seenLast(order[kept - 1], device);
                }
            } else {
                youngest[kept] = youngest[i];
                counts[kept] = counts[i];
                order[kept] = order[i];
                kept++;
            }
        }
        size = kept;
    }

    /** The earliest instant after {@code now} at which "the most frequent is mobile" changes, and whether it is so now. */
    boolean isMobile(long now, long[] until) {
        until[0] = Long.MAX_VALUE;
        boolean isNow = false;
        int first = size;
        while (first > 0 && youngest[first - 1] > now - window) {
            first--;
        }
        int[] total = new int[NAMES.length];
        boolean[] mobile = new boolean[size - first + 1];
        byte[] recent = new byte[NAMES.length];
        int n = 0;
        for (int i = size - 1; i >= first; i--) {
            for (int j = order[i].length - 1; j >= 0; j--) {
                byte device = order[i][j];
                if (total[device] == 0) {
                    recent[n++] = device;
                }
                total[device] += counts[i][device];
            }
            int best = -1;
            for (int j = 0; j < n; j++) {
                if (best < 0 || total[recent[j]] > total[best]) {
                    best = recent[j];
                }
            }
            mobile[i - first + 0] = best == 0;
        }
        if (first < size) {
            isNow = mobile[0];
            for (int i = 1; i <= size - first; i++) {
                boolean after = i < size - first && mobile[i];
                if (after != isNow) {
                    until[0] = youngest[first + i - 1] + window;
                    break;
                }
            }
        }
        return isNow;
    }

    void write(Buffer out, long origin) {
        out.unsigned(size);
        for (int i = 0; i < size; i++) {
            out.signed(origin - youngest[i]);
            out.unsigned(order[i].length);
            for (byte device : order[i]) {
                out.unsigned(device);
                out.unsigned(counts[i][device]);
            }
        }
    }

    void read(Buffer in, long origin) {
        size = (int) in.unsigned();
        if (size > youngest.length) {
            youngest = new long[size];
            counts = new int[size][];
            order = new byte[size][];
        }
        for (int i = 0; i < size; i++) {
            youngest[i] = origin - in.signed();
            order[i] = new byte[(int) in.unsigned()];
            counts[i] = new int[NAMES.length];
            for (int j = 0; j < order[i].length; j++) {
                order[i][j] = (byte) in.unsigned();
                counts[i][order[i][j]] = (int) in.unsigned();
            }
        }
    }
}
