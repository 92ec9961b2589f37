package io.pgflight.spark;

import io.pgflight.write.WriteStatus;

/**
 * The result of the last save in this JVM, for {@code pgflight.last_result(spark)} and for Scala and Java: Spark's own
 * {@code save()} returns nothing.
 */
public final class LastResult {
    private static volatile LastResult last;

    private final WriteStatus status;
    private final double seconds;
    private final long keptAt = System.currentTimeMillis();

    private LastResult(WriteStatus status, double seconds) {
        this.status = status;
        this.seconds = seconds;
    }

    /** Returns the result of the last save that was committed; null before the first. */
    public static LastResult get() {
        return last;
    }

    static void keep(WriteStatus status, double seconds) {
        last = new LastResult(status, seconds);
    }

    /** Returns the table, its rows and the id of the write, as the server reported them. */
    public WriteStatus status() {
        return status;
    }

    /** Returns the seconds from begin to commit; 0 if an earlier save had committed the write. */
    public double seconds() {
        return seconds;
    }

    /** Returns when the result was kept, in milliseconds since 1970. */
    public long keptAt() {
        return keptAt;
    }
}
