package io.pgflight.write;

import io.pgflight.PgFlightException;
import io.pgflight.flight.Connection;
import io.pgflight.flight.Endpoint;
import io.pgflight.flight.Messages;
import io.pgflight.flight.PutMessage;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.arrow.vector.types.pojo.Schema;

/**
 * A write of many partitions: begin, attempts, and commit or abort. Travels to tasks.
 *
 * <p>The server keeps attempts apart and publishes, all or nothing, exactly those whose receipts the driver names.
 */
public final class DistributedWrite implements Serializable {
    private static final long serialVersionUID = 1;

    /** The least time for which a commit is tried again, even if {@code retryTimeout} is shorter. */
    private static final double MIN_COMMIT_SECONDS = 60;
    /** Seconds for which an abort may delay the exception that caused it. */
    private static final double MAX_ABORT_SECONDS = 10;
    /** The number of aborted writes of one name after which begin fails. */
    private static final int MAX_RUNS = 1000;

    private final Endpoint endpoint;
    private final String target;
    private final WriteStatus status;

    private DistributedWrite(Endpoint endpoint, String target, WriteStatus status) {
        this.endpoint = endpoint;
        this.target = target;
        this.status = status;
    }

    /**
     * Begins a write: the server checks table, columns, types and permissions before any row moves.
     *
     * @param spec the {@code WriteSpec} of the protocol
     * @param writeId the name of the write. A committed write of this name is returned as it is, and an open one goes
     *     on
     * @param isNamed whether the user chose the name. After an aborted write, the next id of the name is used then:
     *     {@code name#2}, {@code name#3}, …
     * @param driver the id under which heartbeats are sent; empty for none
     * @throws PgFlightException any error of the server
     */
    public static DistributedWrite begin(
            Endpoint endpoint,
            Map<String, ?> spec,
            Schema schema,
            String writeId,
            boolean isNamed,
            String driver) {
        Map<String, Object> fields = fields(spec, schema, driver);
        try (Connection connection = endpoint.connect()) {
            for (int number = 1; ; number++) {
                // An aborted write stays aborted, so that tasks of it that still run change nothing.
                fields.put("writeId", number == 1 ? writeId : writeId + "#" + number);
                try {
                    return begun(connection, endpoint, fields, spec);
                } catch (PgFlightException error) {
                    if (!isNamed || !error.reason().equals("CONFLICT") || number == MAX_RUNS) {
                        throw error;
                    }
                }
            }
        }
    }

    /** Begins the write of a batch of a streaming query, which the server names. Any number of tasks may call it. */
    public static DistributedWrite beginBatch(
            Endpoint endpoint, Map<String, ?> spec, Schema schema, Map<String, ?> sink, String driver) {
        Map<String, Object> fields = fields(spec, schema, driver);
        fields.put("sink", sink);
        try (Connection connection = endpoint.connect()) {
            return begun(connection, endpoint, fields, spec);
        }
    }

    /** Returns a write that another process began, to commit or abort it. */
    public static DistributedWrite of(Endpoint endpoint, String target, String writeId) {
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("writeId", writeId);
        answer.put("state", "WRITE_STATE_OPEN");
        return new DistributedWrite(endpoint, target, WriteStatus.of(answer));
    }

    /** Returns the server's answer to begin. */
    public WriteStatus status() {
        return status;
    }

    /** Returns the servers of the write. */
    public Endpoint endpoint() {
        return endpoint;
    }

    /** Returns the database of the write; empty for the server's default. */
    public String target() {
        return target;
    }

    /** Whether the driver has to send heartbeats for the write. */
    public boolean needsHeartbeats() {
        return status.isOpen() && status.heartbeatSeconds() > 0;
    }

    /**
     * Opens the stream of one attempt of one partition and waits until PostgreSQL takes rows. Waits for servers and
     * PostgreSQL for as long as the endpoint's calls do.
     *
     * @param attemptName the caller's name for this run; it is made unique
     */
    public Attempt attempt(int partition, String attemptName, Schema schema) {
        Map<String, Object> fields = at(target);
        fields.put("writeId", status.writeId());
        fields.put("partitionId", partition);
        fields.put("attemptId", attemptName + "-" + UUID.randomUUID());
        fields.put("announceReady", true);
        byte[] command = Messages.encode("AttemptCommand", fields);
        Connection connection = endpoint.connect();
        try {
            return connection.patiently(
                    endpoint.retrySeconds(), () -> Attempt.open(connection, command, schema));
        } catch (RuntimeException error) {
            connection.close();
            throw error;
        }
    }

    /**
     * Publishes exactly the attempts that the receipts name. A second call changes nothing.
     *
     * @param receipts one for each partition that had rows
     * @throws PgFlightException if the write is not committed, or the client could not learn whether it is
     */
    public WriteStatus commit(List<Map<String, Object>> receipts) {
        Map<String, Object> fields = at(target);
        fields.put("writeId", status.writeId());
        fields.put("receipts", receipts);
        if (receipts.isEmpty()) {
            // Spark accepted no partition with rows.
            fields.put("allowNoReceipts", true);
        }
        double seconds = Math.max(endpoint.retrySeconds(), MIN_COMMIT_SECONDS);
        try (Connection connection = endpoint.connect()) {
            return connection.patiently(
                    seconds,
                    () -> published(WriteStatus.of(connection.action("commit", "CommitRequest", fields, 0))));
        } catch (PgFlightException error) {
            if (error.reason().equals("PREPARED_LOST")) {
                throw withLost(error);
            }
            throw error.isRetryable() ? unfinished(error) : error;
        }
    }

    /** Returns the write's state in the server's ledger. */
    public WriteStatus findStatus() {
        Map<String, Object> fields = at(target);
        fields.put("writeId", status.writeId());
        try (Connection connection = endpoint.connect()) {
            return WriteStatus.of(connection.action("status", "StatusRequest", fields, 0));
        }
    }

    /**
     * Ends the write without publishing it, while another error is handled. The server rejects attempts that still run.
     *
     * @return the write's status, which may be that of a commit that came first; null if no server was reached
     */
    public WriteStatus abortQuietly(String reason) {
        Map<String, Object> fields = at(target);
        fields.put("writeId", status.writeId());
        fields.put("reason", reason);
        double seconds = Math.min(endpoint.retrySeconds(), MAX_ABORT_SECONDS);
        try (Connection connection = endpoint.connect()) {
            return WriteStatus.of(
                    connection.patientAction("abort", "AbortRequest", fields, seconds));
        } catch (PgFlightException ignored) {
            // The server aborts the write some time later.
            return null;
        }
    }

    private static Map<String, Object> fields(Map<String, ?> spec, Schema schema, String driver) {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("spec", spec);
        fields.put("arrowSchema", Base64.getEncoder().encodeToString(PutMessage.encapsulated(schema)));
        if (!driver.isEmpty()) {
            fields.put("driver", driver);
        }
        return fields;
    }

    private static DistributedWrite begun(
            Connection connection, Endpoint endpoint, Map<String, Object> fields, Map<String, ?> spec) {
        WriteStatus status =
                connection.patiently(
                        endpoint.retrySeconds(),
                        () -> {
                            WriteStatus begun =
                                    WriteStatus.of(connection.action("begin", "BeginRequest", fields, 0));
                            if (begun.isCommitting()) {
                                throw decided(begun.writeId());
                            }
                            return begun;
                        });
        Object target = spec.get("target");
        return new DistributedWrite(endpoint, target == null ? "" : target.toString(), status);
    }

    private WriteStatus published(WriteStatus answer) {
        if (answer.isPreparedLost()) {
            throw PgFlightException.of(
                            "PREPARED_LOST",
                            "another session ended prepared transactions with rows of the write after its commit was"
                                    + " decided")
                    .withHint("write the lost partitions again; the other rows are in the table")
                    .with("table", answer.table());
        }
        if (answer.isCommitting()) {
            throw decided(status.writeId());
        }
        return answer;
    }

    private PgFlightException withLost(PgFlightException error) {
        PgFlightException named = error.with("write_id", status.writeId());
        try {
            String lost = findStatus().lost();
            return lost.isEmpty() ? named : named.with("lost", lost);
        } catch (PgFlightException ignored) {
            return named;
        }
    }

    /**
     * Returns the error of a commit that was tried again until its time was over. The last try may have failed, perhaps
     * on a lock that an earlier try holds, although the earlier one succeeded and its answer was lost.
     */
    private PgFlightException unfinished(PgFlightException error) {
        if (error.isDecided()) {
            return error.with("write_id", status.writeId())
                    .withHint(
                            "do not write the rows again: the server makes them visible; ask for the write's status");
        }
        return error.because(
                        "could not learn whether the write is committed",
                        "ask for the write's status, or run the job again with this writeId")
                .with("write_id", status.writeId());
    }

    private static PgFlightException decided(String writeId) {
        return PgFlightException.of(
                        PgFlightException.UNAVAILABLE,
                        "the commit is decided, and the server is making the last rows visible")
                .withHint("do not write the rows again; ask for the write's status")
                .with("write_id", writeId)
                .with("decided", true);
    }

    /** Returns the first field of a message about a write, if it is not in the default target. */
    static Map<String, Object> at(String target) {
        Map<String, Object> fields = new LinkedHashMap<>();
        if (!target.isEmpty()) {
            fields.put("target", target);
        }
        return fields;
    }
}
