package io.pgflight.options;

import io.pgflight.PgFlightException;
import io.pgflight.flight.Endpoint;
import io.pgflight.flight.Tls;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Function;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The options of one save or stream. They have the names of Spark's JDBC source where they mean the same. */
public final class SparkOptions {
    private static final Logger LOG = LoggerFactory.getLogger("pgflight");

    private final Map<String, String> given;
    private final WriteOptions write;
    private final String table;
    private final Endpoint endpoint;

    private SparkOptions(Map<String, String> given, boolean overwrite) {
        this.given = given;
        checkNames();
        write = writeOptions(overwrite);
        write.check();
        table = readTable();
        endpoint = readEndpoint();
    }

    /**
     * Reads the options of one save.
     *
     * @param options name to value; the case of names does not matter
     * @param overwrite whether Spark replaces all rows
     * @throws PgFlightException for an option that is missing, unknown, rejected or contradicts another; it never holds
     *     the value of an unknown option, which may be a secret
     */
    public static SparkOptions parse(Map<String, String> options, boolean overwrite) {
        Map<String, String> given = new HashMap<>();
        options.forEach((name, value) -> given.put(name.toLowerCase(Locale.ROOT), value));
        return new SparkOptions(given, overwrite);
    }

    /** Reads the options of the servers alone, as a catalog has them. */
    public static Endpoint endpoint(Map<String, String> options) {
        Map<String, String> given = new HashMap<>(options);
        given.put(Option.DBTABLE.key(), "any");
        return parse(given, false).endpoint();
    }

    /** Returns the servers. */
    public Endpoint endpoint() {
        return endpoint;
    }

    /** Returns the table as the user wrote it. */
    public String table() {
        return table;
    }

    /** Returns the name of the save; null if it has none. */
    public String writeId() {
        return get(Option.WRITE_ID);
    }

    /** Whether the user has said that an overwrite replaces all rows. */
    public boolean overwritesAll() {
        String mode = word(Option.PARTITION_OVERWRITE_MODE);
        if (mode != null && !mode.equals("static")) {
            throw PgFlightException.invalid("option partitionOverwriteMode is '" + mode + "', which is not supported")
                    .withHint("use static: it replaces all rows");
        }
        return mode != null;
    }

    /** Returns the name of a stream's output; null if it has none. */
    public String sinkId() {
        return get(Option.SINK_ID);
    }

    /** Whether the query replaces the one that wrote to the sink before. */
    public boolean isResumed() {
        return flag(Option.RESUME);
    }

    /**
     * Returns the {@code WriteSpec} of the protocol, with columns as the frame spells them.
     *
     * @param columns the names of the frame's columns
     */
    public Map<String, Object> spec(String[] columns) {
        write.columnTypes = matching(write.columnTypes, columns);
        write.conversions = matching(write.conversions, columns);
        return write.spec(table);
    }

    private void checkNames() {
        Map<String, String> known = new LinkedHashMap<>();
        for (Option option : Option.values()) {
            known.put(option.key(), option.text());
        }
        given.forEach(
                (name, value) -> {
                    if (JdbcOptions.REJECTED.containsKey(name) && !value.equalsIgnoreCase("false")) {
                        throw PgFlightException.invalid("option '" + name + "' is not supported")
                                .withHint(JdbcOptions.REJECTED.get(name));
                    }
                    if (JdbcOptions.REJECTED.containsKey(name) || known.containsKey(name)) {
                        return;
                    }
                    String why = JdbcOptions.WITHOUT_EFFECT.get(name);
                    if (why == null) {
                        String near = Spelling.nearest(name, known.keySet());
                        throw PgFlightException.invalid("option '" + name + "' is unknown")
                                .withHint(
                                        near == null
                                                ? "use one of " + String.join(", ", Option.texts())
                                                : "did you mean '" + known.get(near) + "'?");
                    }
                    LOG.warn("pgflight: option '{}' has no effect: {}", name, why);
                });
    }

    private WriteOptions writeOptions(boolean overwrite) {
        WriteOptions options = new WriteOptions();
        options.orderBy = get(Option.ORDER_BY);
        options.tableOptions = get(Option.TABLE_OPTIONS);
        options.schemaEvolution = get(Option.SCHEMA_EVOLUTION);
        options.publish = get(Option.PUBLISH);
        options.target = get(Option.TARGET);
        options.syncSequences = flag(Option.SYNC_SEQUENCES);
        read(Option.KEYS, (text, to) -> to.keys = ColumnLists.names(text), options);
        options.localTimestamps = get(Option.LOCAL_TIMESTAMPS);
        options.newerBy = get(Option.NEWER_BY);
        options.tombstone = get(Option.TOMBSTONE);
        options.envelope = word(Option.ENVELOPE);
        read(Option.DELETE_WHEN, (text, to) -> to.deleteWhen = DeleteWhen.parse(text), options);
        read(Option.UPDATE_COLUMNS, (text, to) -> to.updateColumns = ColumnLists.names(text), options);
        read(Option.INSERT_COLUMNS, (text, to) -> to.insertColumns = ColumnLists.names(text), options);
        read(Option.BEFORE, (text, to) -> to.before = ColumnLists.names(text), options);
        read(Option.AFTER, (text, to) -> to.after = ColumnLists.names(text), options);
        readRejects(options.rejects);
        options.replaceWhere = get(Option.REPLACE_WHERE);
        read(Option.REPLACE_BY, (text, to) -> to.replaceBy = ColumnLists.names(text), options);
        read(Option.PRIMARY_KEY, (text, to) -> to.primaryKey = ColumnLists.names(text), options);
        read(Option.COLUMN_TYPES, (text, to) -> to.columnTypes = ColumnLists.types(text), options);
        read(Option.CONVERSIONS, (text, to) -> to.conversions = Conversions.parse(text), options);
        readMode(options, overwrite);
        options.overwriteWith = overwriteWith(overwrite, options.hasPart());
        return options;
    }

    private void readRejects(RejectRules rejects) {
        rejects.onError = word(Option.ON_ERROR);
        rejects.limit = number(Option.REJECT_LIMIT, Long::valueOf);
        rejects.percent = number(Option.REJECT_PERCENT, Double::valueOf);
        String kinds = get(Option.REJECT_KINDS);
        if (kinds != null) {
            rejects.kinds = ColumnLists.names(kinds);
        }
        rejects.table = get(Option.REJECT_TABLE);
        rejects.values = word(Option.REJECT_VALUES);
        rejects.onDuplicate = word(Option.ON_DUPLICATE);
    }

    private <T> T number(Option option, Function<String, T> parse) {
        String text = get(option);
        try {
            return text == null ? null : parse.apply(text.trim());
        } catch (NumberFormatException e) {
            throw PgFlightException.invalid("option " + option.text() + " is '" + text + "', which is no number")
                    .withHint("write it in digits");
        }
    }

    /** Sets mode, ifExists and createIfMissing. Spark itself has only append and overwrite. */
    private void readMode(WriteOptions options, boolean overwrite) {
        String writeMode = word(Option.WRITE_MODE);
        String ifExists = word(Option.IF_EXISTS);
        boolean makesNoTable = given.containsKey(Option.CREATE_TABLE.key()) && !flag(Option.CREATE_TABLE);
        if (writeMode != null) {
            WriteOptions.checkWord(Option.WRITE_MODE, writeMode, new ArrayList<>(WriteOptions.KEYED_MODES.keySet()));
            if (ifExists != null) {
                throw PgFlightException.invalid("options writeMode and ifExists contradict each other");
            }
            if (overwrite) {
                throw PgFlightException.invalid("option writeMode contradicts mode 'overwrite'")
                        .withHint("use mode 'append'");
            }
            options.mode = writeMode;
            options.createIfMissing = flag(Option.CREATE_TABLE);
            return;
        }
        WriteOptions.checkWord(Option.IF_EXISTS, ifExists, WriteOptions.IF_EXISTS);
        if (overwrite) {
            if (ifExists != null) {
                throw PgFlightException.invalid("option ifExists contradicts mode 'overwrite'")
                        .withHint("use mode 'append'");
            }
            if (options.hasPart() && flag(Option.CREATE_TABLE)) {
                throw PgFlightException.invalid(
                                "createTable=true has no effect, since an overwrite of a part makes no table")
                        .withHint("leave it out");
            }
            if (makesNoTable && !options.hasPart()) {
                throw PgFlightException.invalid(
                        "createTable=false contradicts mode 'overwrite', which makes a missing table");
            }
            options.mode = "overwrite";
        } else if (ifExists != null) {
            // Spark rejects mode("error") and mode("ignore") for data sources, so this option replaces them.
            if (makesNoTable) {
                throw PgFlightException.invalid("createTable=false contradicts ifExists, which makes the table");
            }
            options.mode = "create";
            options.ifExists = ifExists;
        } else {
            options.createIfMissing = flag(Option.CREATE_TABLE);
        }
    }

    private String overwriteWith(boolean overwrite, boolean hasPart) {
        boolean truncates = flag(Option.TRUNCATE);
        if (!overwrite) {
            if (given.containsKey(Option.OVERWRITE_WITH.key())) {
                throw PgFlightException.invalid("option overwriteWith has no effect in mode 'append'")
                        .withHint("leave it out, or use mode 'overwrite'");
            }
            return null;
        }
        if (given.containsKey(Option.TRUNCATE.key()) && !truncates) {
            throw PgFlightException.invalid(
                            "truncate=false asks to drop the table, which would lose its indexes, grants and views")
                    .withHint("leave it out, or set overwriteWith to delete or swap");
        }
        String how = word(Option.OVERWRITE_WITH);
        WriteOptions.checkWord(Option.OVERWRITE_WITH, how, WriteOptions.OVERWRITE_WITH);
        if (truncates && how != null && !how.equals("truncate")) {
            throw PgFlightException.invalid("options truncate and overwriteWith contradict each other");
        }
        return how == null && !(hasPart && !truncates) ? "truncate" : how;
    }

    private String readTable() {
        String named = get(Option.DBTABLE);
        String path = get(Option.PATH);
        if (named != null && path != null && !named.equals(path)) {
            throw PgFlightException.invalid("option dbtable and save() name two tables")
                    .withHint("name the table in one of them");
        }
        return path != null ? path : required(Option.DBTABLE, "public.trips");
    }

    private Endpoint readEndpoint() {
        String token = get(Option.TOKEN);
        String tokenFile = get(Option.TOKEN_FILE);
        if (token == null && tokenFile == null) {
            token = System.getenv("PGFLIGHT_TOKEN");
        }
        String timeout = get(Option.RETRY_TIMEOUT);
        return Endpoint.parse(
                required(Option.URL, "grpc://host:8815"),
                token,
                tokenFile,
                Tls.read(get(Option.TLS_ROOT_CERTS), get(Option.TLS_CLIENT_CERT), get(Option.TLS_CLIENT_KEY)),
                timeout == null
                        ? Endpoint.DEFAULT_RETRY_SECONDS
                        : Durations.seconds(timeout, Option.RETRY_TIMEOUT.text()));
    }

    /** Spark ignores the case of columns, so users may write them in any case. */
    private static <T> Map<String, T> matching(Map<String, T> asked, String[] columns) {
        Map<String, T> matched = new LinkedHashMap<>();
        asked.forEach(
                (wanted, value) -> {
                    if (wanted.equals(WriteOptions.ALL_COLUMNS)) {
                        matched.put(wanted, value);
                        return;
                    }
                    List<String> alike = new ArrayList<>();
                    for (String column : columns) {
                        if (column.equals(wanted)) {
                            alike.clear();
                            alike.add(column);
                            break;
                        }
                        if (column.equalsIgnoreCase(wanted)) {
                            alike.add(column);
                        }
                    }
                    if (alike.size() != 1) {
                        String fault = alike.isEmpty() ? "matches no column" : "matches two columns";
                        throw PgFlightException.invalid(
                                        "the name in a column type or conversion " + fault + " of the frame")
                                .with("column", wanted);
                    }
                    matched.put(alike.get(0), value);
                });
        return matched;
    }

    private void read(Option option, BiConsumer<String, WriteOptions> reader, WriteOptions to) {
        String text = get(option);
        if (text != null) {
            reader.accept(text, to);
        }
    }

    private String get(Option option) {
        return given.get(option.key());
    }

    private String word(Option option) {
        String value = get(option);
        return value == null ? null : value.toLowerCase(Locale.ROOT);
    }

    private String required(Option option, String example) {
        String value = get(option);
        if (value == null || value.isEmpty()) {
            throw PgFlightException.invalid("option '" + option.text() + "' is missing")
                    .withHint("set it, as in " + example);
        }
        return value;
    }

    private boolean flag(Option option) {
        String value = get(option);
        if (value != null && !value.equalsIgnoreCase("true") && !value.equalsIgnoreCase("false")) {
            throw PgFlightException.invalid("option '" + option.text() + "' is neither true nor false");
        }
        return Boolean.parseBoolean(value);
    }
}
