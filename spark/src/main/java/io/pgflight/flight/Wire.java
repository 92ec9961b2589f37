package io.pgflight.flight;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The few parts of protobuf's wire format that Flight's messages need (protobuf.dev, "Encoding"): length-delimited
 * fields and varints.
 */
final class Wire {
    private static final int VARINT = 0;
    private static final int FIXED64 = 1;
    private static final int DELIMITED = 2;
    private static final int FIXED32 = 5;

    private Wire() {}

    /** Builds a message, field by field. */
    static final class Builder {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        Builder number(int field, int value) {
            varint(tag(field, VARINT));
            varint(value);
            return this;
        }

        Builder bytes(int field, byte[] value) {
            head(field, value.length);
            bytes.write(value, 0, value.length);
            return this;
        }

        Builder text(int field, String value) {
            return bytes(field, value.getBytes(StandardCharsets.UTF_8));
        }

        /** Writes the head of a field whose content the caller sends itself. */
        Builder head(int field, long length) {
            varint(tag(field, DELIMITED));
            varint(length);
            return this;
        }

        byte[] build() {
            return bytes.toByteArray();
        }

        private void varint(long value) {
            long left = value;
            while ((left & ~0x7FL) != 0) {
                bytes.write((int) (left & 0x7F) | 0x80);
                left >>>= 7;
            }
            bytes.write((int) left);
        }

        private static long tag(int field, int type) {
            return ((long) field << 3) | type;
        }
    }

    /**
     * Returns the contents of all length-delimited fields with this number.
     *
     * @throws IllegalArgumentException if the bytes are no protobuf message
     */
    static List<byte[]> all(byte[] message, int field) {
        List<byte[]> found = new ArrayList<>();
        Reader reader = new Reader(message);
        while (reader.at < message.length) {
            long tag = reader.varint();
            switch ((int) (tag & 7)) {
                case VARINT:
                    reader.varint();
                    break;
                case FIXED64:
                    reader.take(8);
                    break;
                case DELIMITED:
                    byte[] content = reader.take(reader.varint());
                    if (tag >>> 3 == field) {
                        found.add(content);
                    }
                    break;
                case FIXED32:
                    reader.take(4);
                    break;
                default:
                    throw new IllegalArgumentException("unknown wire type");
            }
        }
        return found;
    }

    /** Returns the last content of a length-delimited field, as protobuf has it; empty if there is none. */
    static byte[] last(byte[] message, int field) {
        List<byte[]> found = all(message, field);
        return found.isEmpty() ? new byte[0] : found.get(found.size() - 1);
    }

    static String text(byte[] message, int field) {
        return new String(last(message, field), StandardCharsets.UTF_8);
    }

    private static final class Reader {
        private final byte[] message;
        private int at;

        Reader(byte[] message) {
            this.message = message;
        }

        long varint() {
            long value = 0;
            for (int shift = 0; shift < 64; shift += 7) {
                byte next = take(1)[0];
                value |= (long) (next & 0x7F) << shift;
                if (next >= 0) {
                    return value;
                }
            }
            throw new IllegalArgumentException("a varint is too long");
        }

        byte[] take(long length) {
            if (length < 0 || length > message.length - at) {
                throw new IllegalArgumentException("a message is cut short");
            }
            byte[] taken = java.util.Arrays.copyOfRange(message, at, at + (int) length);
            at += (int) length;
            return taken;
        }
    }
}
