package io.pgflight.flight;

import io.grpc.Drainable;
import io.grpc.KnownLength;
import io.grpc.MethodDescriptor;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.vector.ipc.message.ArrowRecordBatch;
import org.apache.arrow.vector.ipc.message.IpcOption;
import org.apache.arrow.vector.ipc.message.MessageSerializer;
import org.apache.arrow.vector.types.pojo.Schema;

/** One {@code FlightData} message of a stream (Flight.proto), whose body stays in Arrow's buffers until it is sent. */
public final class PutMessage {
    /** FlightData.flight_descriptor, .data_header, .app_metadata and .data_body. */
    private static final int DESCRIPTOR = 1;
    private static final int HEADER = 2;
    private static final int APP_METADATA = 3;
    private static final int BODY = 1000;
    /** FlightDescriptor.type, its value CMD, and .cmd. */
    private static final int TYPE = 1;
    private static final int CMD = 2;
    private static final int COMMAND = 2;
    /** The IPC format aligns each buffer to this many bytes. */
    private static final int ALIGNMENT = 8;

    private final byte[] head;
    private final List<ArrowBuf> body;
    private final long bodyBytes;

    private PutMessage(byte[] head, List<ArrowBuf> body, long bodyBytes) {
        this.head = head;
        this.body = body;
        this.bodyBytes = bodyBytes;
    }

    /** Returns the first message: the command, and the schema of the rows. */
    static PutMessage schema(byte[] command, Schema schema) {
        byte[] descriptor = new Wire.Builder().number(TYPE, CMD).bytes(COMMAND, command).build();
        byte[] header = bytes(MessageSerializer.serializeMetadata(schema, IpcOption.DEFAULT));
        byte[] head = new Wire.Builder().bytes(DESCRIPTOR, descriptor).bytes(HEADER, header).build();
        return new PutMessage(head, Collections.emptyList(), 0);
    }

    /** Returns a message with rows. The batch must stay open until the message is sent. */
    static PutMessage batch(ArrowRecordBatch batch) {
        byte[] header = bytes(MessageSerializer.serializeMetadata(batch, IpcOption.DEFAULT));
        List<ArrowBuf> body = batch.getBuffers();
        long bodyBytes = 0;
        for (ArrowBuf buffer : body) {
            bodyBytes += buffer.readableBytes() + padding(buffer);
        }
        byte[] head = new Wire.Builder().bytes(HEADER, header).head(BODY, bodyBytes).build();
        return new PutMessage(head, body, bodyBytes);
    }

    /** Returns the end record. */
    static PutMessage end(Map<String, ?> record) {
        byte[] message = Messages.encode("EndRecord", record);
        return new PutMessage(
                new Wire.Builder().bytes(APP_METADATA, message).build(), Collections.emptyList(), 0);
    }

    /** Returns a schema as an encapsulated IPC message, in which {@code BeginRequest} has it. */
    public static byte[] encapsulated(Schema schema) {
        byte[] metadata = bytes(MessageSerializer.serializeMetadata(schema, IpcOption.DEFAULT));
        int padded = (metadata.length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        ByteBuffer message = ByteBuffer.allocate(8 + padded).order(java.nio.ByteOrder.LITTLE_ENDIAN);
        message.putInt(-1).putInt(padded).put(metadata);
        return message.array();
    }

    /** Returns the number of bytes of the message. */
    long byteCount() {
        return head.length + bodyBytes;
    }

    private void drainTo(OutputStream out) throws IOException {
        out.write(head);
        byte[] part = new byte[64 << 10];
        for (ArrowBuf buffer : body) {
            long size = buffer.readableBytes();
            for (long at = 0; at < size; at += part.length) {
                int count = (int) Math.min(part.length, size - at);
                buffer.getBytes(buffer.readerIndex() + at, part, 0, count);
                out.write(part, 0, count);
            }
            out.write(new byte[ALIGNMENT], 0, padding(buffer));
        }
    }

    private static int padding(ArrowBuf buffer) {
        return (int) ((ALIGNMENT - buffer.readableBytes() % ALIGNMENT) % ALIGNMENT);
    }

    private static byte[] bytes(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    /** Passes messages to gRPC, and reads {@code PutResult.app_metadata} of the answers. */
    static final class Marshaller implements MethodDescriptor.Marshaller<PutMessage> {
        @Override
        public InputStream stream(PutMessage message) {
            return new Content(message);
        }

        @Override
        public PutMessage parse(InputStream stream) {
            throw new UnsupportedOperationException("clients only send these messages");
        }
    }

    /** The content of a message, which gRPC drains at once. */
    private static final class Content extends InputStream implements Drainable, KnownLength {
        private PutMessage message;

        Content(PutMessage message) {
            this.message = message;
        }

        @Override
        public int drainTo(OutputStream target) throws IOException {
            int count = available();
            message.drainTo(target);
            message = null;
            return count;
        }

        @Override
        public int available() {
            return message == null ? 0 : Math.toIntExact(message.byteCount());
        }

        @Override
        public int read() {
            throw new UnsupportedOperationException("gRPC drains a message that can be drained");
        }
    }
}
