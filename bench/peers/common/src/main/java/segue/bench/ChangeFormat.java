package segue.bench;

/** How changes are written; bench/change.rs reads it. */
final class ChangeFormat {
    private final Buffer out = new Buffer(new byte[256]);

    byte[] write(String customer, String segment, boolean entered, long at, long sequence) {
        out.at = 0;
        out.text(customer);
        out.text(segment);
        out.unsigned(entered ? 1 : 0);
        out.signed(at);
        out.signed(sequence);
        return out.toBytes();
    }
}
