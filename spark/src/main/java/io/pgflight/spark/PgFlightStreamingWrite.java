package io.pgflight.spark;

import io.pgflight.PgFlightException;
import io.pgflight.options.SparkOptions;
import io.pgflight.spark.task.BatchAttemptFactory;
import io.pgflight.spark.task.FrameSchema;
import io.pgflight.write.DistributedWrite;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.spark.sql.connector.write.PhysicalWriteInfo;
import org.apache.spark.sql.connector.write.WriterCommitMessage;
import org.apache.spark.sql.connector.write.streaming.StreamingDataWriterFactory;
import org.apache.spark.sql.connector.write.streaming.StreamingWrite;

/**
 * The output of a streaming query: every batch is one write. Spark names the batch to the tasks and at the end, so each
 * task begins the write: the first one creates it, the others find it.
 */
final class PgFlightStreamingWrite implements StreamingWrite {
    private final SparkOptions options;
    private final FrameSchema schema;
    private final String queryId;

    PgFlightStreamingWrite(SparkOptions options, FrameSchema schema, String queryId) {
        this.options = options;
        this.schema = schema;
        this.queryId = queryId;
    }

    @Override
    public StreamingDataWriterFactory createStreamingWriterFactory(PhysicalWriteInfo info) {
        ApplicationEnd.listen();
        return new BatchAttemptFactory(
                options.endpoint(),
                options.spec(schema.names()),
                schema,
                options.sinkId(),
                queryId,
                options.isResumed());
    }

    /** As in {@link PgFlightBatchWrite}; Spark asks streams since 3.4. */
    public boolean useCommitCoordinator() {
        return false;
    }

    /** Publishes the attempts that Spark accepted. Without receipts, the batch is in the table or had no rows. */
    @Override
    public void commit(long epochId, WriterCommitMessage[] messages) {
        List<Map<String, Object>> receipts = PgFlightBatchWrite.receipts(messages);
        if (!receipts.isEmpty()) {
            writeOf(receipts).commit(receipts);
        }
    }

    @Override
    public void abort(long epochId, WriterCommitMessage[] messages) {
        List<Map<String, Object>> receipts = PgFlightBatchWrite.receipts(messages);
        if (!receipts.isEmpty()) {
            writeOf(receipts).abortQuietly("Spark aborted batch " + epochId + " of the stream");
        }
    }

    private DistributedWrite writeOf(List<Map<String, Object>> receipts) {
        TreeSet<String> ids = new TreeSet<>();
        receipts.forEach(receipt -> ids.add(receipt.get("writeId").toString()));
        if (ids.size() > 1) {
            throw PgFlightException.of(
                    "CONFLICT", "the tasks of one batch sent attempts of several writes: " + String.join(", ", ids));
        }
        Object target = options.spec(schema.names()).get("target");
        return DistributedWrite.of(options.endpoint(), target == null ? "" : target.toString(), ids.first());
    }

    @Override
    public String toString() {
        return "pgflight " + options.table() + " (query " + queryId + ")";
    }
}
