package io.pgflight.spark;

import io.pgflight.PgFlightException;
import io.pgflight.options.SparkOptions;
import io.pgflight.spark.task.FrameSchema;
import org.apache.spark.sql.connector.metric.CustomMetric;
import org.apache.spark.sql.connector.write.BatchWrite;
import org.apache.spark.sql.connector.write.Write;
import org.apache.spark.sql.connector.write.streaming.StreamingWrite;

/** One write, which Spark runs as a batch or as a stream. */
final class PgFlightWrite implements Write {
    private final SparkOptions options;
    private final FrameSchema schema;
    private final String queryId;

    PgFlightWrite(SparkOptions options, FrameSchema schema, String queryId) {
        this.options = options;
        this.schema = schema;
        this.queryId = queryId;
    }

    @Override
    public String description() {
        return toString();
    }

    @Override
    public BatchWrite toBatch() {
        if (options.sinkId() != null || options.isResumed()) {
            throw PgFlightException.invalid("options sinkId and resume have no effect on a save")
                    .withHint("name the save by writeId");
        }
        return new PgFlightBatchWrite(options, schema, writeId());
    }

    @Override
    public StreamingWrite toStreaming() {
        if (options.writeId() != null) {
            throw PgFlightException.invalid("option writeId has no effect on a stream")
                    .withHint("use option sinkId");
        }
        return new PgFlightStreamingWrite(options, schema, queryId);
    }

    @Override
    public CustomMetric[] supportedCustomMetrics() {
        return WriteMetrics.supported();
    }

    /** Shows table and write in the plan of Spark's SQL tab. */
    @Override
    public String toString() {
        return "pgflight " + options.table() + " (write " + writeId() + ")";
    }

    private String writeId() {
        return options.writeId() == null ? queryId : options.writeId();
    }
}
