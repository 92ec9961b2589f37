package io.pgflight.write;

import io.pgflight.flight.Messages;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The state of a write in the server's ledger, as {@code WriteStatus} of the protocol has it. Travels to tasks. */
public final class WriteStatus implements Serializable {
    private static final long serialVersionUID = 1;

    private final String writeId;
    private final String state;
    private final String table;
    private final long rowCount;
    private final long byteCount;
    private final boolean existed;
    private final String finishedAt;
    private final long maxMessageBytes;
    private final double heartbeatSeconds;
    private final String lost;
    private final String reason;

    private WriteStatus(Map<String, Object> answer) {
        writeId = Messages.text(answer, "writeId");
        state = Messages.text(answer, "state").replace("WRITE_STATE_", "").toLowerCase(Locale.ROOT);
        table = Messages.text(answer, "table");
        rowCount = Messages.number(answer, "rowCount");
        byteCount = Messages.number(answer, "byteCount");
        existed = Boolean.TRUE.equals(answer.get("existed"));
        finishedAt = Messages.text(answer, "finishedAt");
        maxMessageBytes = Messages.number(answer, "maxMessageBytes");
        Object seconds = answer.get("heartbeatSeconds");
        heartbeatSeconds = seconds == null ? 0 : Double.parseDouble(seconds.toString());
        lost = lost(answer.get("lost"));
        reason = Messages.text(answer, "reason");
    }

    static WriteStatus of(Map<String, Object> answer) {
        return new WriteStatus(answer);
    }

    /** Returns the write's id. */
    public String writeId() {
        return writeId;
    }

    /** Returns the table, quoted where SQL needs it. */
    public String table() {
        return table;
    }

    /** Returns the number of committed rows. */
    public long rowCount() {
        return rowCount;
    }

    /** Returns their bytes of binary COPY. */
    public long byteCount() {
        return byteCount;
    }

    /** Returns the largest message that the server takes, in bytes; 0 if it does not say. */
    public long maxMessageBytes() {
        return maxMessageBytes;
    }

    boolean isOpen() {
        return state.equals("open");
    }

    /** Whether nothing is left to do: the write is committed, or its mode leaves the table as it is. */
    public boolean isCommitted() {
        return state.equals("committed");
    }

    /** Whether the commit is decided, and the server makes its last rows visible. */
    public boolean isCommitting() {
        return state.equals("committing");
    }

    boolean isPreparedLost() {
        return state.equals("prepared_lost");
    }

    /** Returns the state in lower case. */
    public String state() {
        return state;
    }

    /** Returns the seconds between two heartbeats; 0 if the server takes none. */
    double heartbeatSeconds() {
        return heartbeatSeconds;
    }

    /** Returns the lost partitions and their rows as text; empty if there are none. */
    String lost() {
        return lost;
    }

    /** Returns the reason of an abort. */
    public String reason() {
        return reason;
    }

    /** Returns when the write ended, in UTC as RFC 3339 has it; empty while it is open. */
    public String finishedAt() {
        return finishedAt;
    }

    /** Whether an earlier call committed the write. */
    public boolean isRepeated() {
        return existed && isCommitted();
    }

    /** Returns the line that says that the write was committed before. */
    public String repeatedLine() {
        String when = finishedAt.isEmpty() ? "" : " at " + finishedAt;
        return "write " + writeId + " was already committed" + when + "; nothing was written";
    }

    private static String lost(Object partitions) {
        List<String> parts = new ArrayList<>();
        if (partitions instanceof List) {
            for (Object each : (List<?>) partitions) {
                @SuppressWarnings("unchecked")
                Map<String, Object> one = (Map<String, Object>) each;
                parts.add(
                        Messages.number(one, "rowCount") + " rows of partition " + Messages.number(one, "partitionId"));
            }
        }
        return String.join(", ", parts);
    }
}
