package io.pgflight.spark;

import org.apache.spark.sql.connector.metric.CustomMetric;
import org.apache.spark.sql.connector.metric.CustomSumMetric;
import org.apache.spark.sql.connector.metric.CustomTaskMetric;

/** The metrics of a write in Spark's UI. Spark makes each class by its name, so they are public. */
public final class WriteMetrics {
    private static final String ROWS = "pgflightRows";
    private static final String BYTES = "pgflightBytes";
    private static final String WAITED = "pgflightWaited";

    private WriteMetrics() {}

    /** Returns the metrics that Spark shows. */
    public static CustomMetric[] supported() {
        return new CustomMetric[] {new Rows(), new Bytes(), new Waited()};
    }

    /** Returns the metrics of a task. */
    public static CustomTaskMetric[] of(long rowCount, long byteCount, long waitedNanos) {
        return new CustomTaskMetric[] {
            new Value(ROWS, rowCount),
            new Value(BYTES, byteCount),
            new Value(WAITED, waitedNanos / 1_000_000)
        };
    }

    /** Rows that were sent, those of failed and doubled attempts included. */
    public static final class Rows extends CustomSumMetric {
        @Override
        public String name() {
            return ROWS;
        }

        @Override
        public String description() {
            return "rows sent to pgflight";
        }
    }

    /** Bytes that were sent. */
    public static final class Bytes extends CustomSumMetric {
        @Override
        public String name() {
            return BYTES;
        }

        @Override
        public String description() {
            return "bytes sent to pgflight";
        }
    }

    /** Milliseconds for which tasks waited for the server while they had rows. */
    public static final class Waited extends CustomSumMetric {
        @Override
        public String name() {
            return WAITED;
        }

        @Override
        public String description() {
            return "milliseconds of waiting for pgflight";
        }
    }

    private static final class Value implements CustomTaskMetric {
        private final String name;
        private final long value;

        Value(String name, long value) {
            this.name = name;
            this.value = value;
        }

        @Override
        public String name() {
            return name;
        }

        @Override
        public long value() {
            return value;
        }
    }
}
