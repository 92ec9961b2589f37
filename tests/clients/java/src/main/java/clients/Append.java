package clients;

import java.util.concurrent.TimeUnit;
import org.apache.arrow.flight.CallOptions;
import org.apache.arrow.flight.FlightCallHeaders;
import org.apache.arrow.flight.FlightClient;
import org.apache.arrow.flight.HeaderCallOption;
import org.apache.arrow.flight.Location;
import org.apache.arrow.flight.sql.FlightSqlClient;
import org.apache.arrow.flight.sql.FlightSqlClient.ExecuteIngestOptions;
import org.apache.arrow.flight.sql.impl.FlightSql.CommandStatementIngest.TableDefinitionOptions;
import org.apache.arrow.flight.sql.impl.FlightSql.CommandStatementIngest.TableDefinitionOptions.TableExistsOption;
import org.apache.arrow.flight.sql.impl.FlightSql.CommandStatementIngest.TableDefinitionOptions.TableNotExistOption;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.Float8Vector;
import org.apache.arrow.vector.VectorSchemaRoot;

/** Run it with --add-opens=java.base/java.nio=ALL-UNNAMED, which Arrow needs. */
class Append {
    public static void main(String[] arguments) throws Exception {
        Location server = new Location(arguments[0]); // grpc://localhost:8815
        TableDefinitionOptions append = TableDefinitionOptions.newBuilder()
                .setIfNotExist(TableNotExistOption.TABLE_NOT_EXIST_OPTION_FAIL)
                .setIfExists(TableExistsOption.TABLE_EXISTS_OPTION_APPEND)
                .build();
        // With its number and an id, the ingest can be sent again after any error, and happens once.
        FlightCallHeaders headers = new FlightCallHeaders();
        headers.insert("x-pgflight-write-id", "trips 1");
        headers.insert("x-pgflight-rows", "3");
        try (RootAllocator memory = new RootAllocator();
                FlightSqlClient client = new FlightSqlClient(FlightClient.builder(memory, server).build());
                BigIntVector id = new BigIntVector("id", memory);
                Float8Vector fare = new Float8Vector("fare", memory);
                VectorSchemaRoot rows = VectorSchemaRoot.of(id, fare)) {
            for (int i = 0; i < 3; i++) {
                id.setSafe(i, i + 1);
                fare.setSafe(i, 7.5);
            }
            rows.setRowCount(3);
            long written = client.executeIngest(
                    rows,
                    new ExecuteIngestOptions("trips", append, null, "public", null),
                    new HeaderCallOption(headers),
                    CallOptions.timeout(10, TimeUnit.MINUTES));
            System.out.println(written);
        }
    }
}
