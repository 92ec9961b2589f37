package io.pgflight.write;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What the user of a driver should read although no call fails. */
public final class Notice {
    private static final Logger LOG = LoggerFactory.getLogger("pgflight");

    private Notice() {}

    /** Logs a warning. While the process ends, writes it to stderr: the log may have ended already. */
    public static void warn(String message) {
        if (processEnds()) {
            System.err.println("pgflight: " + message);
        } else {
            LOG.warn("pgflight: {}", message);
        }
    }

    private static boolean processEnds() {
        Thread hook = new Thread();
        try {
            Runtime.getRuntime().addShutdownHook(hook);
            Runtime.getRuntime().removeShutdownHook(hook);
            return false;
        } catch (IllegalStateException ending) {
            return true;
        }
    }
}
