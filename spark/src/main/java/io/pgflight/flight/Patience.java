package io.pgflight.flight;

import io.pgflight.PgFlightException;
import java.util.concurrent.ThreadLocalRandom;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Decides whether a call is tried again after a retryable error, until its time is over.
 *
 * <p>The time runs from the first error. Each pause is twice the pause before, up to five seconds, and shortened at
 * random by up to half, so that clients do not come back in step.
 */
final class Patience {
    private static final Logger LOG = LoggerFactory.getLogger("pgflight");
    private static final double MAX_PAUSE = 5.0;
    /** Seconds after which the log says that a call waits. */
    private static final double SILENT_SECONDS = 2.0;

    private final double seconds;
    private long beganAt;
    private boolean hasBegun;
    private boolean hasSaid;
    private double pause = 0.1;

    /** @param seconds how long to try again; 0 does not */
    Patience(double seconds) {
        this.seconds = seconds;
    }

    /**
     * Waits for the next try. Returns if there is one.
     *
     * @throws PgFlightException the error itself, if it is not retryable or the time is over
     */
    void orThrow(PgFlightException error) {
        if (!error.isRetryable() || seconds <= 0) {
            throw error;
        }
        long now = System.nanoTime();
        if (!hasBegun) {
            hasBegun = true;
            beganAt = now;
        }
        double tried = (now - beganAt) / 1e9;
        double left = seconds - tried;
        if (left <= 0) {
            PgFlightException last = error.with("tried_seconds", Math.round(tried * 10) / 10.0);
            throw last.hint() == null ? last.withHint("raise retryTimeout to wait longer") : last;
        }
        if (!hasSaid && tried >= SILENT_SECONDS) {
            hasSaid = true;
            LOG.warn("pgflight tries again for up to {} s: {}", seconds, error.getMessage());
        }
        sleep(Math.min(pause * ThreadLocalRandom.current().nextDouble(0.5, 1.0), left));
        pause = Math.min(pause * 2, MAX_PAUSE);
    }

    private static void sleep(double seconds) {
        try {
            Thread.sleep((long) (seconds * 1000));
        } catch (InterruptedException interrupted) {
            throw interrupted();
        }
    }

    /** Returns the error of a thread that was interrupted while it waited, and keeps its interrupt. */
    static PgFlightException interrupted() {
        Thread.currentThread().interrupt();
        return PgFlightException.of("CANCELLED", "the thread was interrupted while it waited for the server");
    }
}
