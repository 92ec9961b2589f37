package io.pgflight.write;

import io.pgflight.flight.Connection;
import io.pgflight.flight.PutStream;
import java.util.Map;
import org.apache.arrow.vector.ipc.message.ArrowRecordBatch;
import org.apache.arrow.vector.types.pojo.Schema;

/** One attempt of one partition, with a connection of its own. Closing it before it has finished cancels it. */
public final class Attempt implements AutoCloseable {
    private final Connection connection;
    private final PutStream stream;
    /** The receipt of an attempt whose rows the server does not need. */
    private final Map<String, Object> earlyReceipt;

    private Attempt(Connection connection, PutStream stream, Map<String, Object> earlyReceipt) {
        this.connection = connection;
        this.stream = stream;
        this.earlyReceipt = earlyReceipt;
    }

    static Attempt open(Connection connection, byte[] command, Schema schema) {
        PutStream stream = new PutStream(connection, command, schema);
        try {
            return new Attempt(connection, stream, stream.awaitReady());
        } catch (RuntimeException error) {
            stream.close();
            throw error;
        }
    }

    /** Whether the server takes rows; otherwise {@link #finish} has the receipt already. */
    public boolean needsRows() {
        return earlyReceipt == null;
    }

    /** Sends a batch. Waits while the server is behind. */
    public void write(ArrowRecordBatch batch) {
        stream.write(batch);
    }

    /** Sends the end record, if rows are needed, and returns the receipt for {@link DistributedWrite#commit}. */
    public Map<String, Object> finish() {
        return needsRows() ? stream.finish() : earlyReceipt;
    }

    /** Returns the number of rows that were sent. */
    public long rowCount() {
        return stream.rowCount();
    }

    /** Returns the number of bytes that were sent. */
    public long byteCount() {
        return stream.byteCount();
    }

    /** Returns the nanoseconds for which the caller waited for the server. */
    public long waitedNanos() {
        return stream.waitedNanos();
    }

    @Override
    public void close() {
        stream.close();
        connection.close();
    }
}
