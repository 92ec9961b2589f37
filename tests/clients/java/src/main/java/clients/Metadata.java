package clients;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.io.ByteArrayInputStream;
import java.nio.channels.Channels;
import org.apache.arrow.flight.CallOption;
import org.apache.arrow.flight.FlightEndpoint;
import org.apache.arrow.flight.FlightInfo;
import org.apache.arrow.flight.FlightStream;
import org.apache.arrow.flight.sql.impl.FlightSql.SqlInfo;
import org.apache.arrow.flight.sql.util.TableRef;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.ipc.ReadChannel;
import org.apache.arrow.vector.ipc.message.MessageSerializer;

/** What a client asks about tables. */
final class Metadata {
    private Metadata() {}

    /** Returns the rows of the answer, each a list of texts. An Arrow schema becomes the names of its fields. */
    static ArrayNode rows(Steps steps, String what, JsonNode step) throws Exception {
        String catalog = Steps.string(step, "catalog");
        String schema = Steps.string(step, "schema");
        String table = Steps.string(step, "table");
        CallOption[] call = Steps.options(step);
        FlightInfo info = switch (what) {
            case "catalogs" -> steps.client.getCatalogs(call);
            case "schemas" -> steps.client.getSchemas(catalog, schema, call);
            case "tables" -> steps.client.getTables(catalog, schema, table, null, true, call);
            case "keys" -> steps.client.getPrimaryKeys(TableRef.of(catalog, schema, table), call);
            case "types" -> steps.client.getTableTypes(call);
            case "column_types" -> steps.client.getXdbcTypeInfo(step.get("code").asInt(), call);
            case "facts" -> steps.client.getSqlInfo(
                    new SqlInfo[] {
                        SqlInfo.FLIGHT_SQL_SERVER_NAME,
                        SqlInfo.FLIGHT_SQL_SERVER_TRANSACTION,
                        SqlInfo.FLIGHT_SQL_SERVER_BULK_INGESTION
                    },
                    call);
            default -> throw new IllegalArgumentException("no step " + what);
        };
        ArrayNode rows = Steps.JSON.createArrayNode();
        for (FlightEndpoint endpoint : info.getEndpoints()) {
            try (FlightStream stream = steps.client.getStream(endpoint.getTicket(), call)) {
                while (stream.next()) {
                    for (int i = 0; i < stream.getRoot().getRowCount(); i++) {
                        ArrayNode row = rows.addArray();
                        for (FieldVector column : stream.getRoot().getFieldVectors()) {
                            add(row, column, i);
                        }
                    }
                }
            }
        }
        return rows;
    }

    private static void add(ArrayNode row, FieldVector column, int i) throws Exception {
        if (column.getName().equals("table_schema")) {
            ArrayNode names = row.addArray();
            byte[] stored = (byte[]) column.getObject(i);
            ReadChannel channel = new ReadChannel(Channels.newChannel(new ByteArrayInputStream(stored)));
            MessageSerializer.deserializeSchema(channel)
                    .getFields()
                    .forEach(field -> names.add(field.getName()));
        } else {
            row.add(String.valueOf(column.getObject(i)));
        }
    }
}
