package segue.bench;

import java.nio.charset.StandardCharsets;

/** Bytes to write to or to read from, with Avro's numbers of variable length. */
final class Buffer {
    byte[] bytes;
    int at;

    Buffer(byte[] bytes) {
        this.bytes = bytes;
    }

    void unsigned(long value) {
        if (at + 10 > bytes.length) {
            bytes = java.util.Arrays.copyOf(bytes, bytes.length * 2);
        }
        while ((value & ~0x7fL) != 0) {
            bytes[at++] = (byte) (value & 0x7f | 0x80);
            value >>>= 7;
        }
        bytes[at++] = (byte) value;
    }

    void signed(long value) {
        unsigned(value << 1 ^ value >> 63);
    }

    void text(String text) {
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        signed(utf8.length);
        while (at + utf8.length > bytes.length) {
            bytes = java.util.Arrays.copyOf(bytes, bytes.length * 2);
        }
        System.arraycopy(utf8, 0, bytes, at, utf8.length);
        at += utf8.length;
    }

    byte[] toBytes() {
        return java.util.Arrays.copyOf(bytes, at);
    }

    long unsigned() {
        long value = 0;
        for (int shift = 0;; shift += 7) {
            byte next = bytes[at++];
            value |= (long) (next & 0x7f) << shift;
            if (next >= 0) {
                return value;
            }
        }
    }

    long signed() {
        long value = unsigned();
        return value >>> 1 ^ -(value & 1);
    }

    String text() {
        int length = (int) signed();
        String text = new String(bytes, at, length, StandardCharsets.UTF_8);
        at += length;
        return text;
    }

    void skipText() {
        int length = (int) signed();
        at += length;
    }

    void skipMaybe() {
        if (signed() != 0) {
            skipText();
        }
    }

    /** Of a union of null and text: its length, with {@code at} at its first byte; -1 for null. */
    int maybe() {
        return signed() == 0 ? -1 : (int) signed();
    }

    boolean is(int length, byte[] text) {
        return length == text.length && java.util.Arrays.equals(bytes, at, at + length, text, 0, length);
    }

    /** FNV-1a of so many bytes from here. */
    long hash(int length) {
        long hash = 0xcbf29ce484222325L;
        for (int i = at; i < at + length; i++) {
            hash = (hash ^ bytes[i]) * 0x100000001b3L;
        }
        return hash;
    }

    /** Ten-thousandths. */
    long decimal() {
        int length = (int) signed();
        long value = length > 0 ? bytes[at] >> 7 : 0;
        for (int i = 0; i < length; i++) {
            value = value << 8 | bytes[at++] & 0xff;
        }
        return value;
    }
}
