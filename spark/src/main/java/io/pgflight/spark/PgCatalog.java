package io.pgflight.spark;

import io.pgflight.PgFlightException;
import io.pgflight.flight.Connection;
import io.pgflight.flight.Endpoint;
import io.pgflight.options.SparkOptions;
import io.pgflight.spark.catalog.NewTable;
import io.pgflight.spark.catalog.TableSchemas;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Function;
import org.apache.spark.sql.catalyst.analysis.NoSuchNamespaceException;
import org.apache.spark.sql.catalyst.analysis.NoSuchTableException;
import org.apache.spark.sql.connector.catalog.Identifier;
import org.apache.spark.sql.connector.catalog.NamespaceChange;
import org.apache.spark.sql.connector.catalog.StagedTable;
import org.apache.spark.sql.connector.catalog.StagingTableCatalog;
import org.apache.spark.sql.connector.catalog.SupportsNamespaces;
import org.apache.spark.sql.connector.catalog.Table;
import org.apache.spark.sql.connector.catalog.TableChange;
import org.apache.spark.sql.connector.expressions.Transform;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/**
 * The tables of one database as a catalog of Spark SQL, for writing: {@code spark.sql.catalog.pg =
 * io.pgflight.spark.PgCatalog} with {@code spark.sql.catalog.pg.url} and the other options of a save. A
 * namespace is a schema of PostgreSQL.
 */
public final class PgCatalog implements StagingTableCatalog, SupportsNamespaces {
    /** The prefix that Spark gives to OPTIONS of CREATE TABLE. */
    private static final String OPTION_PREFIX = "option.";

    private String name;
    private Map<String, String> options;
    private Endpoint endpoint;
    private String target;

    @Override
    public void initialize(String catalogName, CaseInsensitiveStringMap given) {
        name = catalogName;
        options = new HashMap<>(given);
        endpoint = SparkOptions.endpoint(options);
        target = options.getOrDefault("target", "");
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public String[] defaultNamespace() {
        return new String[] {"public"};
    }

    // ── tables ───────────────────────────────────────────────────────────────

    @Override
    public Identifier[] listTables(String[] namespace) {
        List<Identifier> tables = new ArrayList<>();
        for (List<String> path : paths()) {
            String table = path.get(path.size() - 1);
            if (namespace.length == 1 && schemaOf(path).equals(namespace[0])) {
                tables.add(Identifier.of(namespace, table));
            }
        }
        return tables.toArray(new Identifier[0]);
    }

    @Override
    public Table loadTable(Identifier ident) throws NoSuchTableException {
        List<String> path = new ArrayList<>();
        if (!target.isEmpty()) {
            path.add(target);
        }
        path.add(schemaOf(ident));
        path.add(ident.name());
        StructType schema;
        try {
            schema = call(connection -> TableSchemas.read(connection.schemaOf(path)));
        } catch (PgFlightException error) {
            if (error.reason().equals("NOT_FOUND")) {
                throw new NoSuchTableException(ident);
            }
            throw error;
        }
        return new PgFlightTable(name + "." + ident, schema, false, optionsOf(ident));
    }

    /** Makes an empty table. */
    @Override
    public Table createTable(
            Identifier ident, StructType schema, Transform[] partitions, Map<String, String> properties) {
        NewTable.makeEmpty(newTable(ident, schema, partitions, properties), schema);
        return new PgFlightTable(name + "." + ident, schema, false, optionsOf(ident));
    }

    @Override
    public StagedTable stageCreate(
            Identifier ident, StructType schema, Transform[] partitions, Map<String, String> properties) {
        return new NewTable(name + "." + ident, schema, newTable(ident, schema, partitions, properties), false);
    }

    @Override
    public StagedTable stageReplace(
            Identifier ident, StructType schema, Transform[] partitions, Map<String, String> properties) {
        return stageCreateOrReplace(ident, schema, partitions, properties);
    }

    /** Replaces the rows, and keeps a table that exists with its grants, indexes and views. */
    @Override
    public StagedTable stageCreateOrReplace(
            Identifier ident, StructType schema, Transform[] partitions, Map<String, String> properties) {
        Map<String, String> all = newTable(ident, schema, partitions, properties);
        all.remove("ifexists");
        return new NewTable(name + "." + ident, schema, all, true);
    }

    @Override
    public Table alterTable(Identifier ident, TableChange... changes) {
        throw unsupported("ALTER TABLE", "alter the table in PostgreSQL, or write with schemaEvolution=add_columns");
    }

    @Override
    public boolean dropTable(Identifier ident) {
        throw unsupported("DROP TABLE", "drop the table in PostgreSQL");
    }

    @Override
    public void renameTable(Identifier from, Identifier to) {
        throw unsupported("RENAME TABLE", "rename the table in PostgreSQL");
    }

    // ── namespaces ───────────────────────────────────────────────────────────

    @Override
    public String[][] listNamespaces() {
        TreeSet<String> schemas = new TreeSet<>(Collections.singleton("public"));
        paths().forEach(path -> schemas.add(schemaOf(path)));
        return schemas.stream().map(schema -> new String[] {schema}).toArray(String[][]::new);
    }

    @Override
    public String[][] listNamespaces(String[] namespace) throws NoSuchNamespaceException {
        if (namespace.length == 0) {
            return listNamespaces();
        }
        return new String[0][];
    }

    @Override
    public boolean namespaceExists(String[] namespace) {
        // A schema without tables that the caller may write is not listed, so the server decides.
        return namespace.length == 1;
    }

    @Override
    public Map<String, String> loadNamespaceMetadata(String[] namespace) {
        return Collections.emptyMap();
    }

    @Override
    public void createNamespace(String[] namespace, Map<String, String> metadata) {
        throw unsupported("CREATE SCHEMA", "create the schema in PostgreSQL");
    }

    @Override
    public void alterNamespace(String[] namespace, NamespaceChange... changes) {
        throw unsupported("ALTER SCHEMA", "alter the schema in PostgreSQL");
    }

    @Override
    public boolean dropNamespace(String[] namespace, boolean cascade) {
        throw unsupported("DROP SCHEMA", "drop the schema in PostgreSQL");
    }

    // ── the server ───────────────────────────────────────────────────────────

    private List<List<String>> paths() {
        return call(connection -> connection.tables(target));
    }

    private <T> T call(Function<Connection, T> call) {
        try (Connection connection = endpoint.connect()) {
            return connection.patiently(endpoint.retrySeconds(), () -> call.apply(connection));
        }
    }

    private Map<String, String> newTable(
            Identifier ident, StructType schema, Transform[] partitions, Map<String, String> properties) {
        if (partitions.length > 0) {
            throw unsupported("PARTITIONED BY", "create a partitioned table in PostgreSQL, and append to it");
        }
        Map<String, String> all = optionsOf(ident);
        properties.forEach(
                (property, value) -> {
                    if (property.startsWith(OPTION_PREFIX)) {
                        all.put(property.substring(OPTION_PREFIX.length()).toLowerCase(java.util.Locale.ROOT), value);
                    }
                });
        all.putIfAbsent("ifexists", "fail");
        return all;
    }

    /** Returns the options of a write to a table of this catalog. */
    private Map<String, String> optionsOf(Identifier ident) {
        Map<String, String> all = new HashMap<>();
        options.forEach((option, value) -> all.put(option.toLowerCase(java.util.Locale.ROOT), value));
        all.put("dbtable", quoted(schemaOf(ident)) + "." + quoted(ident.name()));
        return all;
    }

    private static String quoted(String part) {
        return "\"" + part.replace("\"", "\"\"") + "\"";
    }

    private static String schemaOf(Identifier ident) {
        if (ident.namespace().length != 1) {
            throw PgFlightException.invalid("a table of this catalog has the name of a schema before its own")
                    .withHint("as in pg.public.trips")
                    .with("table", ident.toString());
        }
        return ident.namespace()[0];
    }

    private static String schemaOf(List<String> path) {
        return path.get(path.size() - 2);
    }

    private PgFlightException unsupported(String what, String hint) {
        return PgFlightException.unsupported(what + " is not supported in catalog " + name).withHint(hint);
    }
}
