package segue.bench;

import java.util.Arrays;

/** One customer: what the fourteen segments of bench/retail remember, and what follows from it. */
final class Profile {
    static final long HOUR = 3_600_000L;
    static final long DAY = 24 * HOUR;
    static final long NEVER = Long.MAX_VALUE;

    /** In the order of names, which is the order of changes of one evaluation. */
    static final String[] SEGMENTS = {
        "big_basket", "browsed_not_bought", "cart_abandoner", "frequent_buyer", "high_value", "lapsed", "loyalty.bronze",
        "loyalty.gold", "loyalty.silver", "mobile_first", "new_customer", "newsletter_responder", "runner", "window_shopper",
    };
    private static final int BIG_BASKET = 0, BROWSED = 1, CART = 2, FREQUENT = 3, HIGH_VALUE = 4, LAPSED = 5, BRONZE = 6,
        GOLD = 7, SILVER = 8, MOBILE = 9, NEW = 10, NEWSLETTER = 11, RUNNER = 12, SHOPPER = 13;
    private static final int ON_CLICK = 1 << BROWSED | 1 << MOBILE | 1 << NEW | 1 << RUNNER | 1 << SHOPPER;
    private static final int ON_PURCHASE = 1 << BIG_BASKET | 1 << BROWSED | 1 << FREQUENT | 1 << HIGH_VALUE | 1 << LAPSED
        | 1 << BRONZE | 1 << GOLD | 1 << SILVER | 1 << NEWSLETTER;
    private static final int ALL = (1 << SEGMENTS.length) - 1;

    /** Told of each change, in order. */
    interface Changes {
        void change(String segment, boolean entered, long at, long sequence);
    }

    private long ownTime = Long.MIN_VALUE;
    private long sequence;
    private int members;
    /** By segment: when time alone may next change it. */
    private final long[] until = new long[SEGMENTS.length];
    private long deadline = NEVER;
    /** Under which deadline the queue lists this customer; not stored. */
    long listed = NEVER;
    boolean isDirty;

    private long firstClick = NEVER;
    private long lastPurchase = Long.MIN_VALUE;
    private final Series clicksDay = new Series(DAY, Series.Join.ADD);
    private final Series clicksWeek = new Series(7 * DAY, Series.Join.ADD);
    private final Series running = new Series(7 * DAY, Series.Join.ADD);
    private final Devices devices = new Devices(7 * DAY);
    private final Series spentMonth = new Series(30 * DAY, Series.Join.ADD);
    private final Series spentYear = new Series(365 * DAY, Series.Join.ADD);
    private final Series boughtWeek = new Series(7 * DAY, Series.Join.ADD);
    private final Series boughtMonth = new Series(30 * DAY, Series.Join.ADD);
    private final Series boughtYear = new Series(365 * DAY, Series.Join.ADD);
    private final Series basket = new Series(90 * DAY, Series.Join.MAX);
    private final Series abandoned = new Series(7 * DAY, Series.Join.ADD);
    private final Series responded = new Series(30 * DAY, Series.Join.ADD);
    private final Series[] series = {
        clicksDay, clicksWeek, running, spentMonth, spentYear, boughtWeek, boughtMonth, boughtYear, basket, abandoned, responded,
    };
    /** Products looked at within a day: a hash, and when last. */
    private Pairs products = new Pairs();
    /** Carts left behind that are not decided yet: when, and a hash of the cart. */
    private Pairs carts = new Pairs();
    /** Clicks from a newsletter, and purchases none of them led to, that may still pair: when. */
    private Pairs letters = new Pairs();
    private Pairs unpaired = new Pairs();

    Profile() {
        Arrays.fill(until, NEVER);
    }

    long deadline() {
        return deadline;
    }

    /** Lets time pass up to, not including, an instant. */
    void elapse(long before, Changes changes) {
        while (deadline < before) {
            long now = deadline;
            boolean decided = decide(now);
            boolean flipped = evaluate(now, decided ? 1 << CART : 0, changes);
            if (decided || flipped) {
                ownTime = Math.max(ownTime, now);
            }
        }
    }

    private long begin(long at, Changes changes) {
        elapse(at, changes);
        return Math.max(ownTime, at);
    }

    private void end(long now, int touched, Changes changes) {
        boolean isFirst = ownTime == Long.MIN_VALUE;
        ownTime = now;
        if (decide(now)) {
            touched |= 1 << CART;
        }
        evaluate(now, isFirst ? ALL : touched, changes);
    }

    void click(long at, boolean isRunning, int device, long product, boolean isNewsletter, Changes changes) {
        long now = begin(at, changes);
        int touched = ON_CLICK;
        firstClick = Math.min(firstClick, at);
        clicksDay.add(at, now, 1);
        clicksWeek.add(at, now, 1);
        if (isRunning) {
            running.add(at, now, 1);
        }
        if (device >= 0) {
            devices.add(at, now, device);
        }
        if (product != 0 && at > now - DAY) {
            products.forget(now - DAY);
            products.see(product, at);
        }
        if (isNewsletter) {
            letters.forget(now - DAY - 2_000);
            for (int i = 0; i < unpaired.size; i++) {
                if (at <= unpaired.at[i] && unpaired.at[i] < at + DAY) {
                    responded.add(unpaired.at[i], now, 1);
                    unpaired.remove(i--);
                    touched |= 1 << NEWSLETTER;
                }
            }
            letters.add(0, at);
        }
        end(now, touched, changes);
    }

    void purchase(long at, long total, long cart, Changes changes) {
        long now = begin(at, changes);
        lastPurchase = Math.max(lastPurchase, at);
        spentMonth.add(at, now, total);
        spentYear.add(at, now, total);
        boughtWeek.add(at, now, 1);
        boughtMonth.add(at, now, 1);
        boughtYear.add(at, now, 1);
        basket.add(at, now, total);
        for (int i = 0; i < carts.size; i++) {
            if (cart != 0 && carts.value[i] == cart && carts.at[i] <= at && at < carts.at[i] + HOUR) {
                carts.remove(i--);
            }
        }
        boolean isPaired = false;
        for (int i = 0; i < letters.size && !isPaired; i++) {
            isPaired = letters.at[i] <= at && at < letters.at[i] + DAY;
        }
        if (isPaired) {
            responded.add(at, now, 1);
        } else {
            unpaired.forget(now - 2_000);
            unpaired.add(0, at);
        }
        end(now, ON_PURCHASE, changes);
    }

    void abandonment(long at, long value, long cart, Changes changes) {
        long now = begin(at, changes);
        if (value >= 50_0000) {
            carts.insert(cart, at);
        }
        end(now, 0, changes);
    }

    /** Carts whose hour is over. */
    private boolean decide(long now) {
        boolean any = false;
        while (carts.size > 0 && carts.at[0] + HOUR <= now) {
            abandoned.add(carts.at[0] + HOUR, now, 1);
            carts.remove(0);
            any = true;
        }
        return any;
    }

    private boolean evaluate(long now, int touched, Changes changes) {
        int after = members;
        long next = carts.size > 0 ? carts.at[0] + HOUR : NEVER;
        for (int segment = 0; segment < SEGMENTS.length; segment++) {
            if ((touched & 1 << segment) != 0 || until[segment] <= now) {
                boolean isMember = isMember(segment, now);
                after = isMember ? after | 1 << segment : after & ~(1 << segment);
            }
            next = Math.min(next, until[segment]);
        }
        deadline = next == NEVER ? NEVER : Math.max(next, now + 1);
        int moved = after ^ members;
        if (moved != 0) {
            tell(moved & members, false, now, changes);
            tell(moved & after, true, now, changes);
            members = after;
        }
        return moved != 0;
    }

    private void tell(int moved, boolean entered, long now, Changes changes) {
        for (int segment = 0; segment < SEGMENTS.length; segment++) {
            if ((moved & 1 << segment) != 0) {
                changes.change(SEGMENTS[segment], entered, now, ++sequence);
            }
        }
    }

    private final long[] slot = new long[1];

    private boolean isMember(int segment, long now) {
        switch (segment) {
            case BIG_BASKET:
                return reaches(segment, basket, 300_0000, now);
            case FREQUENT:
                return reaches(segment, boughtMonth, 3, now);
            case HIGH_VALUE:
                return reaches(segment, spentMonth, 500_0000, now);
            case CART:
                return reaches(segment, abandoned, 1, now);
            case RUNNER:
                return reaches(segment, running, 5, now);
            case NEWSLETTER:
                return reaches(segment, responded, 1, now);
            case GOLD:
                return reaches(segment, spentYear, 1_000_0000, now);
            case SILVER:
                return tier(segment, spentYear, 300_0000, 1_000_0000, now);
            case BRONZE: {
                boolean isSilver = tier(segment, spentYear, 300_0000, NEVER, now);
                long silverUntil = until[segment];
                boolean isBuyer = reaches(segment, boughtYear, 1, now);
                until[segment] = Math.min(until[segment], silverUntil);
                return isBuyer && !isSilver;
            }
            case LAPSED: {
                if (lastPurchase == Long.MIN_VALUE) {
                    until[segment] = NEVER;
                    return false;
                }
                boolean isLapsed = now - lastPurchase > 5 * DAY;
                until[segment] = isLapsed ? NEVER : lastPurchase + 5 * DAY + 1;
                return isLapsed;
            }
            case NEW: {
                boolean isNew = firstClick != NEVER && now - firstClick <= DAY;
                until[segment] = isNew ? firstClick + DAY + 1 : NEVER;
                return isNew;
            }
            case BROWSED: {
                boolean hasBought = reaches(segment, boughtWeek, 1, now);
                long boughtUntil = until[segment];
                boolean hasBrowsed = reaches(segment, clicksDay, 20, now);
                until[segment] = Math.min(until[segment], boughtUntil);
                return hasBrowsed && !hasBought;
            }
            case MOBILE: {
                if (!reaches(segment, clicksWeek, 10, now)) {
                    return false;
                }
                boolean isMobile = devices.isMobile(now, slot);
                until[segment] = Math.min(until[segment], slot[0]);
                return isMobile;
            }
            default: {
                long leaves = products.leavesAt(now - DAY + 1, 15);
                until[segment] = leaves == Long.MIN_VALUE ? NEVER : leaves + DAY;
                return leaves != Long.MIN_VALUE;
            }
        }
    }

    private boolean reaches(int segment, Series series, long threshold, long now) {
        long holds = series.holdsUntil(now, threshold);
        until[segment] = holds == Long.MIN_VALUE ? NEVER : holds;
        return holds != Long.MIN_VALUE;
    }

    /** At least {@code from} and less than {@code to}. */
    private boolean tier(int segment, Series series, long from, long to, long now) {
        if (to != NEVER && reaches(segment, series, to, now)) {
            return false;
        }
        return reaches(segment, series, from, now);
    }

    void write(Buffer out) {
        out.at = 0;
        long origin = ownTime;
        out.signed(origin);
        out.unsigned(sequence);
        out.unsigned(members);
        out.signed(deadline == NEVER ? Long.MIN_VALUE : deadline - origin);
        for (long instant : until) {
            out.unsigned(instant == NEVER ? 0 : instant - origin + (1L << 40));
        }
        out.unsigned(firstClick == NEVER ? 0 : origin - firstClick + 1);
        out.unsigned(lastPurchase == Long.MIN_VALUE ? 0 : origin - lastPurchase + 1);
        for (Series one : series) {
            one.write(out, origin);
        }
        devices.write(out, origin);
        products.write(out, origin);
        carts.write(out, origin);
        letters.write(out, origin);
        unpaired.write(out, origin);
    }

    static Profile read(byte[] bytes) {
        Profile profile = new Profile();
        Buffer in = new Buffer(bytes);
        long origin = in.signed();
        profile.ownTime = origin;
        profile.sequence = in.unsigned();
        profile.members = (int) in.unsigned();
        long deadline = in.signed();
        profile.deadline = deadline == Long.MIN_VALUE ? NEVER : deadline + origin;
        for (int i = 0; i < profile.until.length; i++) {
            long instant = in.unsigned();
            profile.until[i] = instant == 0 ? NEVER : instant + origin - (1L << 40);
        }
        long first = in.unsigned();
        profile.firstClick = first == 0 ? NEVER : origin - (first - 1);
        long last = in.unsigned();
        profile.lastPurchase = last == 0 ? Long.MIN_VALUE : origin - (last - 1);
        for (Series one : profile.series) {
            one.read(in, origin);
        }
        profile.devices.read(in, origin);
        profile.products.read(in, origin);
        profile.carts.read(in, origin);
        profile.letters.read(in, origin);
        profile.unpaired.read(in, origin);
        profile.listed = profile.deadline;
        return profile;
    }

    /** Values with an instant each. */
    private static final class Pairs {
        int size;
        long[] value = {};
        long[] at = {};

        void add(long value, long at) {
            insertAt(size, value, at);
        }

        /** In order of instants. */
        void insert(long value, long at) {
            int place = size;
            while (place > 0 && this.at[place - 1] > at) {
                place--;
            }
            insertAt(place, value, at);
        }

        private void insertAt(int place, long value, long at) {
            if (size == this.at.length) {
                this.at = Arrays.copyOf(this.at, size * 2 + 2);
                this.value = Arrays.copyOf(this.value, size * 2 + 2);
            }
            System.arraycopy(this.at, place, this.at, place + 1, size - place);
            System.arraycopy(this.value, place, this.value, place + 1, size - place);
            this.at[place] = at;
            this.value[place] = value;
            size++;
        }

        void remove(int place) {
            size--;
            System.arraycopy(at, place + 1, at, place, size - place);
            System.arraycopy(value, place + 1, value, place, size - place);
        }

        void see(long value, long at) {
            for (int i = 0; i < size; i++) {
                if (this.value[i] == value) {
                    this.at[i] = Math.max(this.at[i], at);
                    return;
                }
            }
            add(value, at);
        }

        /** Forgets what was at {@code until} or before. */
        void forget(long until) {
            int kept = 0;
            for (int i = 0; i < size; i++) {
                if (at[i] > until) {
                    at[kept] = at[i];
                    value[kept++] = value[i];
                }
            }
            size = kept;
        }

        /** The instant of the {@code count}-th youngest, if there are so many since {@code earliest}. */
        long leavesAt(long earliest, int count) {
            long[] live = new long[size];
            int n = 0;
            for (int i = 0; i < size; i++) {
                if (at[i] >= earliest) {
                    live[n++] = at[i];
                }
            }
            if (n < count) {
                return Long.MIN_VALUE;
            }
            Arrays.sort(live, 0, n);
            return live[n - count];
        }

        void write(Buffer out, long origin) {
            out.unsigned(size);
            for (int i = 0; i < size; i++) {
                out.signed(origin - at[i]);
                out.signed(value[i]);
            }
        }

        void read(Buffer in, long origin) {
            size = (int) in.unsigned();
            at = new long[size];
            value = new long[size];
            for (int i = 0; i < size; i++) {
                at[i] = origin - in.signed();
                value[i] = in.signed();
            }
        }
    }
}
