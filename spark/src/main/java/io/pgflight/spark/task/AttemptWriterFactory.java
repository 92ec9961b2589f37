package io.pgflight.spark.task;

import io.pgflight.write.DistributedWrite;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.connector.write.DataWriter;
import org.apache.spark.sql.connector.write.DataWriterFactory;

/** Makes the writer of each task of a save. Travels to the executors. */
public final class AttemptWriterFactory implements DataWriterFactory {
    private static final long serialVersionUID = 1;

    private final DistributedWrite write;
    private final FrameSchema schema;

    /** Sends attempts of a write that the driver has begun. */
    public AttemptWriterFactory(DistributedWrite write, FrameSchema schema) {
        this.write = write;
        this.schema = schema;
    }

    @Override
    public DataWriter<InternalRow> createWriter(int partitionId, long taskId) {
        // An empty partition needs no receipt: the driver commits without it.
        return new AttemptWriter(write, schema, partitionId, taskId, false);
    }
}
