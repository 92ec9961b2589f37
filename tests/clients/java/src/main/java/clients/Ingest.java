package clients;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.arrow.flight.sql.FlightSqlClient.ExecuteIngestOptions;
import org.apache.arrow.flight.sql.FlightSqlClient.PreparedStatement;
import org.apache.arrow.flight.sql.impl.FlightSql.CommandStatementIngest.TableDefinitionOptions;
import org.apache.arrow.flight.sql.impl.FlightSql.CommandStatementIngest.TableDefinitionOptions.TableExistsOption;
import org.apache.arrow.flight.sql.impl.FlightSql.CommandStatementIngest.TableDefinitionOptions.TableNotExistOption;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.Float8Vector;
import org.apache.arrow.vector.TimeStampMicroTZVector;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.ArrowReader;
import org.apache.arrow.vector.types.FloatingPointPrecision;
import org.apache.arrow.vector.types.TimeUnit;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.Schema;

/** Ingests of rows that are made as they are sent. */
final class Ingest {
    private static final byte[] NAME = "näme".getBytes(StandardCharsets.UTF_8);
    private static final Schema SCHEMA = new Schema(List.of(
            Field.notNullable("id", new ArrowType.Int(64, true)),
            Field.nullable("name", ArrowType.Utf8.INSTANCE),
            Field.notNullable("amount", new ArrowType.FloatingPoint(FloatingPointPrecision.DOUBLE)),
            Field.notNullable("at", new ArrowType.Timestamp(TimeUnit.MICROSECOND, "UTC"))));

    private Ingest() {}

    static long run(Steps steps, JsonNode step) throws Exception {
        TableDefinitionOptions mode = TableDefinitionOptions.newBuilder()
                .setIfNotExist(
                        step.get("mode").asText().equals("append")
                                ? TableNotExistOption.TABLE_NOT_EXIST_OPTION_FAIL
                                : TableNotExistOption.TABLE_NOT_EXIST_OPTION_CREATE)
                .setIfExists(
                        switch (step.get("mode").asText()) {
                            case "create" -> TableExistsOption.TABLE_EXISTS_OPTION_FAIL;
                            case "replace" -> TableExistsOption.TABLE_EXISTS_OPTION_REPLACE;
                            default -> TableExistsOption.TABLE_EXISTS_OPTION_APPEND;
                        })
                .build();
        ExecuteIngestOptions options = new ExecuteIngestOptions(
                step.get("table").asText(),
                mode,
                step.path("temporary").asBoolean(),
                Steps.string(step, "catalog"),
                Steps.string(step, "schema"),
                null);
        try (Rows rows = new Rows(steps.memory, step)) {
            return steps.client.executeIngest(rows, options, steps.transactionOf(step), Steps.options(step));
        }
    }

    /** Binds one batch of rows to a prepared INSERT. */
    static long prepared(Steps steps, JsonNode step) throws Exception {
        String sql = step.get("sql").asText();
        try (PreparedStatement statement = step.path("transaction").asBoolean()
                        ? steps.client.prepare(sql, steps.transaction, Steps.options(step))
                        : steps.client.prepare(sql, Steps.options(step));
                Rows rows = new Rows(steps.memory, step)) {
            rows.loadNextBatch();
            statement.setParameters(rows.getVectorSchemaRoot());
            return statement.executeUpdate(Steps.options(step));
        }
    }

    /** Ingests by several connections at a time, each several times with its own ids. */
    static long concurrently(Steps steps, JsonNode step) throws Exception {
        int connections = step.get("connections").asInt();
        ExecutorService threads = Executors.newFixedThreadPool(connections);
        List<Future<Long>> written = new ArrayList<>();
        for (int k = 0; k < connections; k++) {
            ObjectNode own = step.deepCopy();
            own.put("first", step.get("first").asLong() + k * step.get("rows").asLong());
            written.add(threads.submit(() -> {
                Steps connection = new Steps(steps.memory).connect(steps.server);
                long total = 0;
                for (int i = 0; i < step.get("times").asInt(); i++) {
                    total += run(connection, own);
                }
                connection.client.close();
                return total;
            }));
        }
        threads.shutdown();
        long total = 0;
        for (Future<Long> one : written) {
            total += one.get();
        }
        return total;
    }

    /** The rows that the tests expect for the ids from `first`. It fails after `fail_after` batches. */
    private static final class Rows extends ArrowReader {
        private final long end;
        private final int size;
        private long next;
        private int left;

        Rows(BufferAllocator memory, JsonNode step) {
            super(memory);
            next = step.path("first").asLong();
            end = next + step.get("rows").asLong();
            size = step.path("batch").asInt(10_000);
            left = step.path("fail_after").asInt(Integer.MAX_VALUE);
        }

        @Override
        public boolean loadNextBatch() throws IOException {
            if (next == end) {
                return false;
            }
            if (left-- == 0) {
                throw new IOException("the source broke");
            }
            prepareLoadNextBatch();
            VectorSchemaRoot root = getVectorSchemaRoot();
            int count = (int) Math.min(size, end - next);
            for (int i = 0; i < count; i++, next++) {
                ((BigIntVector) root.getVector(0)).setSafe(i, next);
                if (next % 3 == 0) {
                    ((VarCharVector) root.getVector(1)).setNull(i);
                } else {
                    ((VarCharVector) root.getVector(1)).setSafe(i, NAME);
                }
                ((Float8Vector) root.getVector(2)).setSafe(i, next / 4.0);
                ((TimeStampMicroTZVector) root.getVector(3)).setSafe(i, next * 1_000_001);
            }
            root.setRowCount(count);
            return true;
        }

        @Override
        public long bytesRead() {
            return 0;
        }

        @Override
        protected void closeReadSource() {}

        @Override
        protected Schema readSchema() {
            return SCHEMA;
        }
    }
}
