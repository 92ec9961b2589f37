package io.pgflight.spark.task;

import io.pgflight.flight.Endpoint;
import io.pgflight.write.DistributedWrite;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.connector.write.DataWriter;
import org.apache.spark.sql.connector.write.streaming.StreamingDataWriterFactory;

/** Makes the writer of each task of a streaming query. Travels to the executors. */
public final class BatchAttemptFactory implements StreamingDataWriterFactory {
    private static final long serialVersionUID = 1;

    private final Endpoint endpoint;
    private final LinkedHashMap<String, Object> spec;
    private final FrameSchema schema;
    private final String sinkId;
    private final String queryId;
    private final boolean isResumed;

    /**
     * Begins the write of each batch in its tasks.
     *
     * @param spec the {@code WriteSpec} of the protocol
     * @param sinkId the name of the output; null for none, so that the query's id is in its place
     * @param isResumed whether the query replaces the one that wrote to the sink before
     */
    public BatchAttemptFactory(
            Endpoint endpoint,
            Map<String, Object> spec,
            FrameSchema schema,
            String sinkId,
            String queryId,
            boolean isResumed) {
        this.endpoint = endpoint;
        this.spec = new LinkedHashMap<>(spec);
        this.schema = schema;
        this.sinkId = sinkId;
        this.queryId = queryId;
        this.isResumed = isResumed;
    }

    @Override
    public DataWriter<InternalRow> createWriter(int partitionId, long taskId, long epochId) {
        // The receipts tell the driver the write's id, and a batch without rows is a batch.
        return new AttemptWriter(begin(epochId), schema, partitionId, taskId, true);
    }

    /** Begins the write of a batch, or finds it. Servers end it by their TTL if nothing more happens to it. */
    private DistributedWrite begin(long epochId) {
        if (sinkId == null) {
            return DistributedWrite.begin(endpoint, spec, schema.toArrow(), queryId + ":" + epochId, true, "");
        }
        Map<String, Object> sink = new LinkedHashMap<>();
        sink.put("sinkId", sinkId);
        sink.put("queryId", queryId);
        sink.put("batchId", Long.toString(epochId));
        sink.put("resume", isResumed);
        return DistributedWrite.beginBatch(endpoint, spec, schema.toArrow(), sink, "");
    }
}
