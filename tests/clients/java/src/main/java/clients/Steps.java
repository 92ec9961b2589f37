package clients;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import org.apache.arrow.flight.CallOption;
import org.apache.arrow.flight.CallOptions;
import org.apache.arrow.flight.FlightCallHeaders;
import org.apache.arrow.flight.FlightClient;
import org.apache.arrow.flight.HeaderCallOption;
import org.apache.arrow.flight.Location;
import org.apache.arrow.flight.sql.FlightSqlClient;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;

/**
 * Runs steps against a pgflight server by Arrow's Flight SQL client. Each line of the input is a step, a JSON object; each
 * line of the output is its answer. python/tests/clients has the steps.
 */
final class Steps {
    static final ObjectMapper JSON = new ObjectMapper();

    final BufferAllocator memory;
    Location server;
    FlightSqlClient client;
    FlightSqlClient.Transaction transaction;

    Steps(BufferAllocator memory) {
        this.memory = memory;
    }

    Steps connect(Location server) {
        this.server = server;
        client = new FlightSqlClient(FlightClient.builder(memory, server).build());
        return this;
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Steps steps = new Steps(new RootAllocator());
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                steps.run(JSON.readTree(line), answer);
            } catch (Exception error) {
                answer.put("error", text(error));
            }
            out.println(answer);
        }
        // A failed ingest leaves its call open, and the allocator with it: the process ends them.
        System.exit(0);
    }

    private void run(JsonNode step, ObjectNode answer) throws Exception {
        String what = step.get("do").asText();
        switch (what) {
            case "connect" -> connect(new Location("grpc://" + step.get("server").asText()));
            case "disconnect" -> client.close();
            case "ingest" -> answer.put("rows", Ingest.run(this, step));
            case "concurrent" -> answer.put("rows", Ingest.concurrently(this, step));
            case "begin" -> transaction = client.beginTransaction(options(step));
            case "commit" -> client.commit(transaction, options(step));
            case "rollback" -> client.rollback(transaction, options(step));
            case "update" -> answer.put(
                    "rows", client.executeUpdate(step.get("sql").asText(), transactionOf(step), options(step)));
            case "prepare" -> answer.put("rows", Ingest.prepared(this, step));
            case "database" -> answer.put("rows", Jdbc.insert(server, step));
            case "uncommitted" -> Jdbc.rollBack(server, step.get("sql").asText());
            default -> answer.set("found", Metadata.rows(this, what, step));
        }
    }

    FlightSqlClient.Transaction transactionOf(JsonNode step) {
        return step.path("transaction").asBoolean() ? transaction : null;
    }

    /** Returns the headers of the call, and its deadline in milliseconds. */
    static CallOption[] options(JsonNode step) {
        FlightCallHeaders headers = new FlightCallHeaders();
        step.path("headers").fields().forEachRemaining(
                header -> headers.insert(header.getKey(), header.getValue().asText()));
        // The client leaves a call open when the reader of its rows fails: only a deadline ends it.
        int deadline = step.path("deadline").asInt(120_000);
        return new CallOption[] {
            new HeaderCallOption(headers), CallOptions.timeout(deadline, TimeUnit.MILLISECONDS)
        };
    }

    /** Returns a field of the step, or null. */
    static String string(JsonNode step, String name) {
        return step.hasNonNull(name) ? step.get(name).asText() : null;
    }

    /** Returns what a user sees of an error: executeIngest gives the server's as the cause. */
    private static String text(Throwable error) {
        return error.getCause() == null ? error.toString() : error + "\n" + text(error.getCause());
    }
}
