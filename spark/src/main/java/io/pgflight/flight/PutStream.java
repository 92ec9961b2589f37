package io.pgflight.flight;

import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import io.pgflight.PgFlightException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.arrow.vector.ipc.message.ArrowRecordBatch;
import org.apache.arrow.vector.types.pojo.Schema;

/**
 * One stream of rows: the schema, the batches once PostgreSQL takes them, the end record. One thread uses it.
 *
 * <p>Closing it before {@link #finish} has returned cancels the stream; the server keeps nothing of it then.
 */
public final class PutStream implements AutoCloseable {
    private static final String NOT_WRITTEN = "treat the rows as not written";

    private final String server;
    private final ClientCall<PutMessage, byte[]> call;
    private final Listener listener = new Listener();
    private long rowCount;
    private long batchCount;
    private long byteCount;
    private long waitedNanos;

    /** Opens a stream. Sends the command and the schema, and no rows. */
    public PutStream(Connection connection, byte[] command, Schema schema) {
        server = connection.address();
        call = connection.newPut();
        call.start(listener, connection.headers());
        call.request(2);
        call.sendMessage(PutMessage.schema(command, schema));
    }

    /**
     * Waits until PostgreSQL takes rows.
     *
     * @return null, or the receipt if the server needs no rows
     * @throws PgFlightException if the server rejects the stream or is away
     */
    public Map<String, Object> awaitReady() {
        synchronized (listener) {
            while (listener.answers.isEmpty() && !listener.isClosed()) {
                await();
            }
            if (!listener.answers.isEmpty() && Messages.isReady(listener.answers.get(0))) {
                listener.answers.remove(0);
                return null;
            }
        }
        call.halfClose();
        return onlyReceipt();
    }

    /**
     * Sends a batch. Waits while the server is behind. The batch may be closed afterwards.
     *
     * @throws PgFlightException as soon as the server has ended the stream
     */
    public void write(ArrowRecordBatch batch) {
        awaitRoom();
        PutMessage message = PutMessage.batch(batch);
        call.sendMessage(message);
        rowCount += batch.getLength();
        batchCount++;
        byteCount += message.byteCount();
    }

    /**
     * Sends the end record and waits for the receipt.
     *
     * @throws PgFlightException if the server did not confirm all rows
     */
    public Map<String, Object> finish() {
        awaitRoom();
        Map<String, String> record = new LinkedHashMap<>();
        record.put("rowCount", Long.toString(rowCount));
        record.put("batchCount", Long.toString(batchCount));
        call.sendMessage(PutMessage.end(record));
        call.halfClose();
        long began = System.nanoTime();
        Map<String, Object> receipt = onlyReceipt();
        waitedNanos += System.nanoTime() - began;
        long confirmed = Messages.number(receipt, "rowCount") + Messages.number(receipt, "rejectedCount");
        if (confirmed != rowCount && !Boolean.TRUE.equals(receipt.get("skipped"))) {
            throw PgFlightException.of(
                            "RECEIPT_MISSING",
                            "the server's receipt is for " + confirmed + " rows, but " + rowCount + " were sent")
                    .withHint(NOT_WRITTEN);
        }
        return receipt;
    }

    /** Returns the number of rows that were sent. */
    public long rowCount() {
        return rowCount;
    }

    /** Returns the number of bytes that were sent. */
    public long byteCount() {
        return byteCount;
    }

    /** Returns the nanoseconds for which the task waited for the server. */
    public long waitedNanos() {
        return waitedNanos;
    }

    @Override
    public void close() {
        call.cancel("the client has ended the stream", null);
    }

    private void awaitRoom() {
        if (!call.isReady()) {
            long began = System.nanoTime();
            synchronized (listener) {
                while (!call.isReady() && !listener.isClosed()) {
                    await();
                }
            }
            waitedNanos += System.nanoTime() - began;
        }
        synchronized (listener) {
            if (listener.isClosed()) {
                listener.throwFailure();
                throw endedEarly();
            }
        }
    }

    private Map<String, Object> onlyReceipt() {
        synchronized (listener) {
            while (!listener.isClosed()) {
                await();
            }
            listener.throwFailure();
            if (listener.answers.size() == 1 && isReceipt(listener.answers.get(0))) {
                return listener.answers.get(0);
            }
        }
        throw endedEarly();
    }

    private static boolean isReceipt(Map<String, Object> answer) {
        return Boolean.TRUE.equals(answer.get("skipped")) || !Messages.text(answer, "attemptId").isEmpty();
    }

    private PgFlightException endedEarly() {
        return PgFlightException.of(
                        "RECEIPT_MISSING",
                        "the server at " + server + " ended the stream after " + rowCount
                                + " rows without a receipt")
                .withHint(NOT_WRITTEN);
    }

    /** Waits for the listener's next event. */
    private void await() {
        try {
            listener.wait();
        } catch (InterruptedException interrupted) {
            call.cancel("the thread was interrupted", interrupted);
            throw Patience.interrupted();
        }
    }

    private final class Listener extends ClientCall.Listener<byte[]> {
        private final List<Map<String, Object>> answers = new ArrayList<>();
        private Status status;
        private Metadata trailers;

        @Override
        public synchronized void onMessage(byte[] result) {
            answers.add(Messages.decode(Wire.last(result, 1)));
            call.request(1);
            notifyAll();
        }

        @Override
        public synchronized void onReady() {
            notifyAll();
        }

        @Override
        public synchronized void onClose(Status closed, Metadata metadata) {
            status = closed;
            trailers = metadata;
            notifyAll();
        }

        private boolean isClosed() {
            return status != null;
        }

        private void throwFailure() {
            if (!status.isOk()) {
                throw Statuses.toException(status, trailers, server);
            }
        }
    }
}
