package io.pgflight.spark;

import io.pgflight.PgFlightException;
import io.pgflight.options.SparkOptions;
import io.pgflight.spark.task.AttemptReceipt;
import io.pgflight.spark.task.AttemptWriterFactory;
import io.pgflight.spark.task.FrameSchema;
import io.pgflight.write.DistributedWrite;
import io.pgflight.write.Driver;
import io.pgflight.write.Notice;
import io.pgflight.write.WriteStatus;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.connector.write.BatchWrite;
import org.apache.spark.sql.connector.write.DataWriterFactory;
import org.apache.spark.sql.connector.write.PhysicalWriteInfo;
import org.apache.spark.sql.connector.write.WriterCommitMessage;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One save: begin on the driver before the first task, then commit or abort there. */
final class PgFlightBatchWrite implements BatchWrite {
    private static final Logger LOG = LoggerFactory.getLogger("pgflight");

    private final SparkOptions options;
    private final FrameSchema schema;
    private final String writeId;
    private DistributedWrite write;
    private long begunAt;

    PgFlightBatchWrite(SparkOptions options, FrameSchema schema, String writeId) {
        this.options = options;
        this.schema = schema;
        this.writeId = writeId;
    }

    @Override
    public DataWriterFactory createBatchWriterFactory(PhysicalWriteInfo info) {
        ApplicationEnd.listen();
        begunAt = System.nanoTime();
        write =
                DistributedWrite.begin(
                        options.endpoint(),
                        options.spec(schema.names()),
                        schema.toArrow(),
                        writeId,
                        options.writeId() != null,
                        Driver.get().id());
        if (write.status().isRepeated()) {
            LOG.warn("pgflight: {}: {}", write.status().table(), write.status().repeatedLine());
            LastResult.keep(write.status(), 0);
        } else {
            Driver.get().begun(write);
        }
        return new AttemptWriterFactory(write, schema);
    }

    /** The server decides by receipts. A coordinator that denies an attempt would count as a failure of the task. */
    @Override
    public boolean useCommitCoordinator() {
        return false;
    }

    @Override
    public void commit(WriterCommitMessage[] messages) {
        if (write.status().isCommitted()) {
            return;
        }
        WriteStatus status;
        try {
            status = write.commit(receipts(messages));
        } catch (PgFlightException error) {
            // If only the answer was lost, the write stays committed.
            status = write.abortQuietly(error.reason() + ": " + error.fact());
            if (status == null || !status.isCommitted()) {
                throw error;
            }
        }
        Driver.get().ended(write);
        LastResult.keep(status, (System.nanoTime() - begunAt) / 1e9);
        LOG.info("pgflight: {}: {} rows, write {}", status.table(), status.rowCount(), status.writeId());
    }

    /** Ends the write. Tasks may still run; the server rejects them from now on. */
    @Override
    public void abort(WriterCommitMessage[] messages) {
        if (write == null || write.status().isCommitted()) {
            return;
        }
        int finished = 0;
        for (WriterCommitMessage message : messages) {
            finished += message == null ? 0 : 1;
        }
        String reason = "Spark aborted the write after " + finished + " of " + messages.length + " partitions";
        WriteStatus status = write.abortQuietly(reason);
        if (status != null) {
            Driver.get().ended(write);
            if (status.isCommitted() || status.isCommitting()) {
                Notice.warn(
                        String.format(
                                "the answer to the commit of write %s was lost; it is %s: %d rows are in %s",
                                status.writeId(), status.state(), status.rowCount(), status.table()));
            } else if (reason.equals(status.reason())) {
                Notice.warn("write " + status.writeId() + " is aborted: " + reason);
            }
        }
    }

    /** Returns the receipts of the partitions that had rows. */
    static List<Map<String, Object>> receipts(WriterCommitMessage[] messages) {
        List<Map<String, Object>> receipts = new ArrayList<>();
        for (WriterCommitMessage message : messages) {
            if (message instanceof AttemptReceipt && ((AttemptReceipt) message).receipt() != null) {
                receipts.add(((AttemptReceipt) message).receipt());
            }
        }
        return receipts;
    }

    @Override
    public String toString() {
        return "pgflight " + options.table() + " (write " + writeId + ")";
    }
}
