package io.pgflight.spark;

import io.pgflight.write.Driver;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerApplicationEnd;

/** Aborts open writes when the Spark application ends, which may be long before its process does. */
final class ApplicationEnd extends SparkListener {
    private static SparkContext heard;

    private ApplicationEnd() {}

    /** Listens to the application of this driver. A second call changes nothing. */
    static synchronized void listen() {
        SparkContext context = SparkContext.getOrCreate();
        if (context != heard) {
            heard = context;
            context.addSparkListener(new ApplicationEnd());
        }
    }

    @Override
    public void onApplicationEnd(SparkListenerApplicationEnd end) {
        Driver.get().abortOpen();
    }
}
