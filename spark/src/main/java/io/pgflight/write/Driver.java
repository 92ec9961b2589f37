package io.pgflight.write;

import io.pgflight.flight.Connection;
import io.pgflight.flight.Endpoint;
import io.pgflight.flight.Messages;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The driver of the writes that this process began: it keeps them alive by heartbeats, and aborts those that are open
 * when the process ends. Servers abort a write minutes after the last heartbeat of its driver.
 */
public final class Driver {
    private static final Logger LOG = LoggerFactory.getLogger("pgflight");
    /** The longest pause before a failed heartbeat is sent again. */
    private static final double RETRY_SECONDS = 5;
    /** Seconds that a call may take when the process ends. */
    private static final double EXIT_SECONDS = 5;
    private static final Driver INSTANCE = new Driver();

    private final String id = UUID.randomUUID().toString().replace("-", "");
    private final Map<Place, Set<String>> open = new HashMap<>();

    private Driver() {
        Runtime.getRuntime().addShutdownHook(new Thread(this::abortOpen, "pgflight-shutdown"));
    }

    /** Returns the driver of this process. */
    public static Driver get() {
        return INSTANCE;
    }

    /** Returns the id that begin names. */
    public String id() {
        return id;
    }

    /** Keeps a write alive until it has ended. */
    public void begun(DistributedWrite write) {
        if (write.needsHeartbeats()) {
            keepAlive(new Place(write.endpoint(), write.target()), write.status().writeId(),
                    write.status().heartbeatSeconds());
        }
    }

    /** Stops the heartbeats of a write. An unknown write changes nothing. */
    public void ended(DistributedWrite write) {
        forget(new Place(write.endpoint(), write.target()), write.status().writeId());
    }

    /** Aborts the open writes whose servers answer in time. */
    public void abortOpen() {
        Map<Place, List<String>> left = new HashMap<>();
        synchronized (open) {
            open.forEach((place, writes) -> left.put(place, new ArrayList<>(writes)));
        }
        left.forEach((place, writes) -> writes.forEach(write -> abort(place, write)));
    }

    private void keepAlive(Place place, String writeId, double seconds) {
        synchronized (open) {
            boolean isNew = !open.containsKey(place);
            open.computeIfAbsent(place, any -> new LinkedHashSet<>()).add(writeId);
            if (isNew) {
                Thread thread = new Thread(() -> beat(place, seconds), "pgflight-heartbeat");
                thread.setDaemon(true);
                thread.start();
            }
        }
    }

    private void forget(Place place, String writeId) {
        synchronized (open) {
            Set<String> writes = open.get(place);
            if (writes != null) {
                writes.remove(writeId);
            }
        }
    }

    private void abort(Place place, String writeId) {
        forget(place, writeId);
        String reason = "the driver ended before it committed";
        Map<String, Object> fields = DistributedWrite.at(place.target);
        fields.put("writeId", writeId);
        fields.put("reason", reason);
        try (Connection connection = place.endpoint.connect()) {
            Map<String, Object> answer = connection.action("abort", "AbortRequest", fields, EXIT_SECONDS);
            if (Messages.text(answer, "state").equals("WRITE_STATE_ABORTED")) {
                Notice.warn("write " + writeId + " is aborted: " + reason);
            }
        } catch (RuntimeException error) {
            Notice.warn("write " + writeId + " stays open until its server aborts it: " + error.getMessage());
        }
    }

    /** Sends heartbeats to a place while a write is open there. */
    private void beat(Place place, double seconds) {
        Connection connection = null;
        Map<String, Object> fields = DistributedWrite.at(place.target);
        fields.put("driver", id);
        while (true) {
            Set<String> writes;
            synchronized (open) {
                writes = new HashSet<>(open.get(place));
                if (writes.isEmpty()) {
                    open.remove(place);
                    break;
                }
            }
            double pause = seconds;
            try {
                if (connection == null) {
                    connection = place.endpoint.connect();
                }
                Map<String, Object> answer =
                        connection.action("heartbeat", "HeartbeatRequest", fields, Math.max(seconds, RETRY_SECONDS));
                Object stillOpen = answer.get("openWriteIds");
                if (stillOpen instanceof List) {
                    writes.removeAll(new HashSet<>((List<?>) stillOpen));
                }
                writes.forEach(write -> forget(place, write));
            } catch (RuntimeException error) {
                LOG.debug("pgflight: a heartbeat failed: {}", error.getMessage());
                // A new connection may reach another server, and reads the token file again.
                if (connection != null) {
                    connection.close();
                    connection = null;
                }
                pause = Math.min(seconds, RETRY_SECONDS);
            }
            try {
                Thread.sleep((long) (pause * 1000));
            } catch (InterruptedException interrupted) {
                break;
            }
        }
        if (connection != null) {
            connection.close();
        }
    }

    /** The servers and target of a write, to which its heartbeats go. */
    private static final class Place {
        private final Endpoint endpoint;
        private final String target;

        Place(Endpoint endpoint, String target) {
            this.endpoint = endpoint;
            this.target = target;
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Place
                    && endpoint.equals(((Place) other).endpoint)
                    && target.equals(((Place) other).target);
        }

        @Override
        public int hashCode() {
            return Objects.hash(endpoint, target);
        }
    }
}
