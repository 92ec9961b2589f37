package clients;

import com.fasterxml.jackson.databind.JsonNode;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Instant;
import java.util.Arrays;
import org.apache.arrow.flight.Location;

/** Arrow's JDBC driver. */
final class Jdbc {
    private Jdbc() {}

    /** Inserts rows as tools do that speak JDBC, and returns their number. */
    static long insert(Location server, JsonNode step) throws SQLException {
        try (Connection connection = connect(server);
                PreparedStatement statement =
                        connection.prepareStatement(step.get("sql").asText())) {
            long first = step.path("first").asLong(1);
            for (long id = first; id < first + step.path("rows").asLong(1); id++) {
                statement.setLong(1, id);
                if (id % 3 == 0) {
                    statement.setNull(2, Types.VARCHAR);
                } else {
                    statement.setString(2, "näme");
                }
                statement.setDouble(3, id / 4.0);
                statement.setTimestamp(
                        4, Timestamp.from(Instant.EPOCH.plusNanos(id * 1_000_001_000)));
                statement.addBatch();
            }
            return Arrays.stream(statement.executeLargeBatch()).sum();
        }
    }

    /** Inserts two rows without autocommit, and rolls back. */
    static void rollBack(Location server, String sql) throws SQLException {
        try (Connection connection = connect(server)) {
            connection.setAutoCommit(false);
            try (PreparedStatement statement = connection.prepareStatement(sql)) {
                for (long id = 1; id <= 2; id++) {
                    statement.setLong(1, id);
                    statement.executeUpdate();
                }
            }
            connection.rollback();
        }
    }

    private static Connection connect(Location server) throws SQLException {
        String authority = server.getUri().getAuthority();
        return DriverManager.getConnection(
                "jdbc:arrow-flight-sql://" + authority + "/?useEncryption=false");
    }
}
