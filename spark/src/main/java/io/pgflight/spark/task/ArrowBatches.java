package io.pgflight.spark.task;

import io.pgflight.PgFlightException;
import java.util.function.Consumer;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.VectorUnloader;
import org.apache.arrow.vector.ipc.message.ArrowRecordBatch;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.UnsafeRow;
import org.apache.spark.sql.execution.arrow.ArrowWriter;
import org.apache.spark.sql.util.ArrowUtils;

/** Collects Spark's rows in Arrow vectors, and passes on full batches. One thread uses it. */
final class ArrowBatches implements AutoCloseable {
    /** Bytes of a batch: large enough for speed, small enough for a task's memory and for a steady stream. */
    static final long TARGET_BYTES = 2L << 20;
    /** Rows of a batch. Spark 3 writes intervals into vectors that it does not enlarge, of 3,970 values. */
    private static final int MAX_ROWS = 64 << 10;
    private static final int MAX_INTERVAL_ROWS = 3900;
    /** Arrow's own initial capacity of a vector, which grows as needed. */
    private static final int USUAL_CAPACITY = 3970;
    /** Bytes of a message that are kept free for what is not the batch. */
    private static final long HEADROOM_BYTES = 64 << 10;
    /** The default limit of a gRPC server. */
    private static final long DEFAULT_MESSAGE_BYTES = 4L << 20;

    private final BufferAllocator allocator =
            ArrowUtils.rootAllocator().newChildAllocator("pgflight", 0, Long.MAX_VALUE);
    private final VectorSchemaRoot root;
    private final ArrowWriter writer;
    private final Consumer<ArrowRecordBatch> sink;
    private final long maxMessageBytes;
    private final long targetBytes;
    private final int maxRows;
    private long rowsBefore;
    private int rowCount;
    private long byteCount;

    /**
     * @param maxMessageBytes the largest message that the server takes; 0 if it does not say
     * @param sink takes a batch before it returns
     */
    ArrowBatches(FrameSchema schema, long maxMessageBytes, Consumer<ArrowRecordBatch> sink) {
        this.sink = sink;
        this.maxMessageBytes = (maxMessageBytes == 0 ? DEFAULT_MESSAGE_BYTES : maxMessageBytes) - HEADROOM_BYTES;
        targetBytes = Math.min(TARGET_BYTES, this.maxMessageBytes);
        maxRows = schema.hasInterval() ? MAX_INTERVAL_ROWS : MAX_ROWS;
        root = VectorSchemaRoot.create(schema.toArrow(), allocator);
        if (!schema.hasInterval()) {
            shrink();
        }
        writer = ArrowWriter.create(root);
    }

    /** Makes vectors no larger than a batch needs: by default each one has room for thousands of rows. */
    private void shrink() {
        // Spark's rows have 8 bytes for each column.
        long mostRows = targetBytes / (8L * Math.max(1, root.getFieldVectors().size()));
        for (FieldVector vector : root.getFieldVectors()) {
            vector.setInitialCapacity((int) Math.max(1, Math.min(mostRows, USUAL_CAPACITY)));
        }
    }

    /** Adds a row. Passes the batch on once it is full. */
    void add(InternalRow row) {
        writer.write(row);
        rowCount++;
        // Nearly all rows that Spark writes are of this kind. The size of vectors costs more to compute.
        byteCount = row instanceof UnsafeRow ? byteCount + ((UnsafeRow) row).getSizeInBytes() : vectorBytes();
        if (byteCount >= targetBytes || rowCount >= maxRows) {
            flush();
        }
    }

    /** Passes on the rows that are left. */
    void flush() {
        if (rowCount == 0) {
            return;
        }
        writer.finish();
        send(root, rowsBefore);
        rowsBefore += rowCount;
        rowCount = 0;
        byteCount = 0;
        writer.reset();
    }

    /** Returns the number of rows that were not passed on yet. */
    int pendingRows() {
        return rowCount;
    }

    /** Returns the bytes of these rows as Spark has them, which are about those of their batch. */
    long pendingBytes() {
        return byteCount;
    }

    /** Frees the memory. Rows that were not passed on are lost. */
    @Override
    public void close() {
        root.close();
        allocator.close();
    }

    /** Sends rows in as many messages as the server's limit needs. */
    private void send(VectorSchemaRoot rows, long firstRow) {
        int count = rows.getRowCount();
        try (ArrowRecordBatch batch = new VectorUnloader(rows).getRecordBatch()) {
            long size = batch.computeBodyLength();
            if (size <= maxMessageBytes) {
                sink.accept(batch);
                return;
            }
            if (count == 1) {
                throw PgFlightException.of(
                                "DATA_REJECTED",
                                "a row of " + size + " bytes exceeds the server's limit for a message")
                        .withHint("raise the server's --max-message-size")
                        .with("row", firstRow);
            }
        }
        int half = count / 2;
        try (VectorSchemaRoot first = rows.slice(0, half);
                VectorSchemaRoot second = rows.slice(half, count - half)) {
            send(first, firstRow);
            send(second, firstRow + half);
        }
    }

    private long vectorBytes() {
        long bytes = 0;
        for (FieldVector vector : root.getFieldVectors()) {
            bytes += vector.getBufferSizeFor(rowCount);
        }
        return bytes;
    }
}
