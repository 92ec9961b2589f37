package io.pgflight.spark.task;

import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.spark.sql.connector.write.WriterCommitMessage;

/** The message of a finished task to the driver. */
public final class AttemptReceipt implements WriterCommitMessage {
    private static final long serialVersionUID = 1;

    private final LinkedHashMap<String, Object> receipt;

    /** @param receipt null if the partition had no rows, or the write was committed before */
    AttemptReceipt(Map<String, Object> receipt) {
        this.receipt = receipt == null ? null : new LinkedHashMap<>(receipt);
    }

    /** Returns the receipt; null if there is none. */
    public Map<String, Object> receipt() {
        return receipt;
    }
}
