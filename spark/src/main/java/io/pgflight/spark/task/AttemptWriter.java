package io.pgflight.spark.task;

import io.pgflight.spark.WriteMetrics;
import io.pgflight.write.Attempt;
import io.pgflight.write.DistributedWrite;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.connector.metric.CustomTaskMetric;
import org.apache.spark.sql.connector.write.DataWriter;
import org.apache.spark.sql.connector.write.WriterCommitMessage;

/** Sends the rows of one task as one attempt. The stream opens at the first row. */
final class AttemptWriter implements DataWriter<InternalRow> {
    private final DistributedWrite write;
    private final FrameSchema schema;
    private final int partition;
    private final long taskId;
    private final boolean sendsEmpty;
    private Attempt attempt;
    private ArrowBatches batches;

    /** @param sendsEmpty whether a partition without rows is an attempt as well */
    AttemptWriter(
            DistributedWrite write, FrameSchema schema, int partition, long taskId, boolean sendsEmpty) {
        this.write = write;
        this.schema = schema;
        this.partition = partition;
        this.taskId = taskId;
        this.sendsEmpty = sendsEmpty;
    }

    @Override
    public void write(InternalRow row) {
        if (write.status().isCommitted()) {
            return;
        }
        open();
        if (attempt.needsRows()) {
            batches.add(row);
        }
    }

    @Override
    public WriterCommitMessage commit() {
        if (write.status().isCommitted() || (attempt == null && !sendsEmpty)) {
            return new AttemptReceipt(null);
        }
        open();
        batches.flush();
        return new AttemptReceipt(attempt.finish());
    }

    /** Ends the stream without its end record, so that the server keeps nothing of it. */
    @Override
    public void abort() {
        close();
    }

    @Override
    public void close() {
        if (attempt != null) {
            attempt.close();
        }
        if (batches != null) {
            batches.close();
        }
    }

    private void open() {
        if (attempt == null) {
            attempt = write.attempt(partition, Long.toString(taskId), schema.toArrow());
            batches = new ArrowBatches(schema, write.status().maxMessageBytes(), attempt::write);
        }
    }

    /** Spark asks for the last time before {@link #commit}, so rows count that the last batch will send. */
    @Override
    public CustomTaskMetric[] currentMetricsValues() {
        if (attempt == null) {
            return new CustomTaskMetric[0];
        }
        return WriteMetrics.of(
                attempt.rowCount() + batches.pendingRows(),
                attempt.byteCount() + batches.pendingBytes(),
                attempt.waitedNanos());
    }
}
