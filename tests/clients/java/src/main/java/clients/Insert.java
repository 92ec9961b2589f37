package clients;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;

/** Run it with --add-opens=java.base/java.nio=ALL-UNNAMED, which Arrow needs. */
class Insert {
    public static void main(String[] arguments) throws SQLException {
        String url = "jdbc:arrow-flight-sql://" + arguments[0] + "/?useEncryption=false"; // localhost:8815
        try (Connection connection = DriverManager.getConnection(url);
                PreparedStatement insert =
                        connection.prepareStatement("INSERT INTO trips (id, fare) VALUES (?, ?)")) {
            for (int id = 1; id <= 3; id++) {
                insert.setLong(1, id);
                insert.setDouble(2, 7.5);
                insert.addBatch();
            }
            // One number for all of them.
            System.out.println(insert.executeBatch()[0]);
        }
    }
}
