package io.pgflight.spark;

import io.pgflight.PgFlightException;
import io.pgflight.options.SparkOptions;
import io.pgflight.spark.task.FrameSchema;
import java.util.HashMap;
import java.util.Map;
import org.apache.spark.sql.connector.write.LogicalWriteInfo;
import org.apache.spark.sql.connector.write.SupportsTruncate;
import org.apache.spark.sql.connector.write.Write;
import org.apache.spark.sql.connector.write.WriteBuilder;

/** Collects what Spark asks of a write: append, or replace all rows. */
final class PgFlightWriteBuilder implements SupportsTruncate {
    /** Spark's own options of a stream, which it passes on to its output. */
    private static final String[] OPTIONS_OF_STREAMS = {"checkpointlocation", "queryname"};

    private final Map<String, String> options;
    private final LogicalWriteInfo info;
    private boolean overwrites;

    PgFlightWriteBuilder(Map<String, String> options, LogicalWriteInfo info) {
        this.options = options;
        this.info = info;
    }

    @Override
    public WriteBuilder truncate() {
        overwrites = true;
        return this;
    }

    /** Checks the options. Nothing reaches the server yet: Spark also plans queries that it does not run. */
    @Override
    public Write build() {
        Map<String, String> given = new HashMap<>(options);
        for (String option : OPTIONS_OF_STREAMS) {
            given.remove(option);
        }
        SparkOptions parsed = SparkOptions.parse(given, overwrites);
        if (parsed.isResumed() && parsed.sinkId() == null) {
            throw PgFlightException.invalid("option resume is set without a sink")
                    .withHint("name the sink by option sinkId");
        }
        return new PgFlightWrite(parsed, new FrameSchema(info.schema()), info.queryId());
    }
}
