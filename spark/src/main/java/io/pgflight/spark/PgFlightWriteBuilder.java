package io.pgflight.spark;

import io.pgflight.PgFlightException;
import io.pgflight.options.SparkOptions;
import io.pgflight.spark.task.FrameSchema;
import java.time.ZoneId;
import java.util.HashMap;
import java.util.Map;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.connector.write.LogicalWriteInfo;
import org.apache.spark.sql.connector.write.SupportsDynamicOverwrite;
import org.apache.spark.sql.connector.write.SupportsOverwrite;
import org.apache.spark.sql.connector.write.Write;
import org.apache.spark.sql.connector.write.WriteBuilder;
import org.apache.spark.sql.sources.Filter;

/** Collects what Spark asks of a write: append, or replace all rows. */
final class PgFlightWriteBuilder implements SupportsOverwrite, SupportsDynamicOverwrite {
    /** Spark's own options of a stream, which it passes on to its output. */
    private static final String[] OPTIONS_OF_STREAMS = {"checkpointlocation", "queryname"};

    private static final String LOCAL_TIMESTAMPS = "localtimestamps";
    private static final String REPLACE_BY = "replaceby";
    private static final String REPLACE_WHERE = "replacewhere";

    private final Map<String, String> options;
    private final LogicalWriteInfo info;
    private boolean overwrites;
    private String replaceWhere;

    PgFlightWriteBuilder(Map<String, String> options, LogicalWriteInfo info) {
        this.options = options;
        this.info = info;
    }

    /** Replaces the rows for which the filters hold. */
    @Override
    public WriteBuilder overwrite(Filter[] filters) {
        overwrites = true;
        replaceWhere = FilterConditions.of(filters);
        return this;
    }

    /** Replaces the rows that have the values that the data has in the columns of option replaceBy. */
    @Override
    public WriteBuilder overwriteDynamicPartitions() {
        if (options.get(REPLACE_BY) == null) {
            throw PgFlightException.invalid("the overwrite of partitions names no columns")
                    .withHint("name the columns that partition the data in option replaceBy");
        }
        overwrites = true;
        return this;
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
        if (replaceWhere != null) {
            if (given.containsKey(REPLACE_WHERE) || given.containsKey(REPLACE_BY)) {
                throw PgFlightException.invalid("options replaceWhere and replaceBy contradict the condition of the overwrite")
                        .withHint("leave them out, or use mode 'overwrite'");
            }
            given.put(REPLACE_WHERE, replaceWhere);
        }
        given.computeIfPresent(LOCAL_TIMESTAMPS, (name, zone) -> zone.equalsIgnoreCase("session") ? sessionZone() : zone);
        SparkOptions parsed = SparkOptions.parse(given, overwrites);
        if (parsed.isResumed() && parsed.sinkId() == null) {
            throw PgFlightException.invalid("option resume is set without a sink")
                    .withHint("name the sink by option sinkId");
        }
        boolean overwritesAll = parsed.overwritesAll();
        boolean replacesPart = given.containsKey(REPLACE_WHERE) || given.containsKey(REPLACE_BY);
        if (overwrites && !overwritesAll && !replacesPart) {
            rejectDynamicOverwrite();
        } else if (overwritesAll && !overwrites) {
            throw PgFlightException.invalid(
                    "option partitionOverwriteMode has an effect with mode 'overwrite' alone");
        }
        return new PgFlightWrite(parsed, new FrameSchema(info.schema()), info.queryId());
    }

    /** Returns the session's time zone in the form of an IANA name or an offset. */
    private static String sessionZone() {
        String zone = SparkSession.active().conf().get("spark.sql.session.timeZone");
        return ZoneId.of(zone, ZoneId.SHORT_IDS).normalized().getId();
    }

    /** Rejects a save that would replace all rows in a session that asks for a replacement of the partitions. */
    private static void rejectDynamicOverwrite() {
        String mode = SparkSession.active().conf().get("spark.sql.sources.partitionOverwriteMode", "static");
        if (mode.equalsIgnoreCase("dynamic")) {
            throw PgFlightException.unsupported(
                            "spark.sql.sources.partitionOverwriteMode is dynamic, and mode 'overwrite' would replace all"
                                    + " rows")
                    .withHint(
                            "name the columns of the partitions in option replaceBy, or set option partitionOverwriteMode to"
                                    + " static to replace all rows");
        }
    }
}
