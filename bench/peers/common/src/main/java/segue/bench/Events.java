package segue.bench;

import java.nio.charset.StandardCharsets;

/** Decodes events by hand, reading no more of them than the segments need, and applies them to customers. */
final class Events {
    static final String[] TOPICS = {"clicks", "purchases", "cart-abandonments"};
    /** Events are at most this late, and deadlines wait for them. */
    static final long GRACE = 1_000;
    private static final byte[] RUNNING = "running".getBytes(StandardCharsets.UTF_8);
    private static final byte[] NEWSLETTER = "newsletter".getBytes(StandardCharsets.UTF_8);
    /** The marker and the fingerprint of the single-object encoding. */
    private static final int HEADER = 10;

    private final Buffer in = new Buffer(new byte[0]);
    private long at;

    /** The place of a topic in {@link #TOPICS}, whose names differ in their second letters. */
    static int kind(String topic) {
        return switch (topic.charAt(1)) {
            case 'l' -> 0;
            case 'u' -> 1;
            default -> 2;
        };
    }

    /** Reads when an event happened. */
    long begin(byte[] value) {
        in.bytes = value;
        in.at = HEADER;
        in.skipText();
        in.skipText();
        at = in.signed();
        return at;
    }

    /** Reads the rest of it, which is different for each kind, and applies it. */
    void apply(int kind, Profile profile, Profile.Changes changes) {
        switch (kind) {
            case 0 -> click(profile, changes);
            case 1 -> purchase(profile, changes);
            default -> abandonment(profile, changes);
        }
    }

    private void click(Profile profile, Profile.Changes changes) {
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

    private void purchase(Profile profile, Profile.Changes changes) {
        in.skipText();
        int length = in.maybe();
        long cart = 0;
        if (length >= 0) {
            cart = in.hash(length);
            in.at += length;
        }
        profile.purchase(at, in.decimal(), cart, changes);
    }

    private void abandonment(Profile profile, Profile.Changes changes) {
        int length = (int) in.signed();
        long cart = in.hash(length);
        in.at += length;
        profile.abandonment(at, in.decimal(), cart, changes);
    }
}
