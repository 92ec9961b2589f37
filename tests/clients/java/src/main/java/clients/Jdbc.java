package clients;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import org.apache.arrow.flight.Location;

/** Arrow's JDBC driver. */
final class Jdbc {
    private Jdbc() {}

    /** Inserts as tools do that speak JDBC. */
    static void insert(Location server, String sql) throws SQLException {
        String url = "jdbc:arrow-flight-sql://" + server.getUri().getAuthority() + "/?useEncryption=false";
        try (Connection connection = DriverManager.getConnection(url);
                PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setLong(1, 1);
            statement.addBatch();
            statement.executeBatch();
        }
    }
}
