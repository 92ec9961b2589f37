package io.pgflight.options;

import io.pgflight.PgFlightException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** How a write puts rows into its table. {@code docs/spark.md} lists the options. */
final class WriteOptions {
    /** The keyed modes, and the field of {@code WriteSpec} for each. */
    static final Map<String, String> KEYED_MODES;

    static final List<String> IF_EXISTS = Arrays.asList("fail", "append", "ignore");
    static final List<String> OVERWRITE_WITH = Arrays.asList("truncate", "delete", "swap");
    private static final List<String> SCHEMA_EVOLUTION = Arrays.asList("refuse", "add_columns", "ignore");
    private static final List<String> ENVELOPE = Collections.singletonList("debezium");
    private static final List<String> PUBLISH = Arrays.asList("staged", "two_phase", "direct");
    /** Modes that make a missing table when {@code createTable} is set. */
    private static final List<String> MAKING_MODES = Arrays.asList("append", "upsert", "insert_if_absent");

    static {
        Map<String, String> modes = new LinkedHashMap<>();
        modes.put("upsert", "upsert");
        modes.put("insert_if_absent", "insertIfAbsent");
        modes.put("update_only", "updateOnly");
        modes.put("delete_by_key", "deleteByKey");
        KEYED_MODES = Collections.unmodifiableMap(modes);
    }

    /** The name under which a conversion is for all columns that have none of their own. */
    static final String ALL_COLUMNS = "*";

    String mode = "append";
    List<String> keys = Collections.emptyList();
    String orderBy;
    Map<String, Object> deleteWhen = Collections.emptyMap();
    String newerBy;
    String tombstone;
    List<String> updateColumns = Collections.emptyList();
    List<String> insertColumns = Collections.emptyList();
    String envelope;
    String ifExists;
    String overwriteWith;
    List<String> replaceBy = Collections.emptyList();
    String replaceWhere;
    boolean createIfMissing;
    Map<String, String> columnTypes = Collections.emptyMap();
    List<String> primaryKey = Collections.emptyList();
    String tableOptions;
    String schemaEvolution;
    Map<String, Map<String, Object>> conversions = Collections.emptyMap();
    String localTimestamps;
    boolean syncSequences;
    String publish;
    List<String> before = Collections.emptyList();
    List<String> after = Collections.emptyList();
    final RejectRules rejects = new RejectRules();
    String target;

    /**
     * Rejects unknown words, and options that have no effect in the mode.
     *
     * @throws PgFlightException for the first of them
     */
    void check() {
        checkWord(Option.SCHEMA_EVOLUTION, schemaEvolution, SCHEMA_EVOLUTION);
        checkWord(Option.PUBLISH, publish, PUBLISH);
        checkWord(Option.ENVELOPE, envelope, ENVELOPE);
        rejects.check();
        checkChanges();
        checkPart();
        if (createIfMissing) {
            onlyIn(Option.CREATE_TABLE, MAKING_MODES);
        }
        if (!columnTypes.isEmpty() && !"add_columns".equals(schemaEvolution)) {
            onlyWhereMade(Option.COLUMN_TYPES);
        }
        if (!primaryKey.isEmpty()) {
            if (isKeyed()) {
                throw PgFlightException.invalid("option primaryKey is set, and the keys are the primary key")
                        .withHint("leave it out");
            }
            onlyWhereMade(Option.PRIMARY_KEY);
        }
        if (tableOptions != null) {
            onlyWhereMade(Option.TABLE_OPTIONS);
        }
        List<String> keyed = new ArrayList<>(KEYED_MODES.keySet());
        if (!keys.isEmpty()) {
            onlyIn(Option.KEYS, keyed);
        } else if (isKeyed() && createIfMissing) {
            throw PgFlightException.invalid("option createTable is set, and no keys are named")
                    .withHint("set keys to the columns of the primary key");
        }
        if (orderBy != null) {
            onlyIn(Option.ORDER_BY, keyed);
        }
        if (publish != null && !publish.equals("staged")) {
            onlyIn(Option.PUBLISH, Collections.singletonList("append"));
            if (!before.isEmpty() || !after.isEmpty()) {
                Option named = before.isEmpty() ? Option.AFTER : Option.BEFORE;
                throw PgFlightException.invalid(
                                "option " + named.text() + " is set, and option publish is '" + publish + "'")
                        .withHint("publish staged: statements run in the transaction that publishes the rows");
            }
        }
        boolean writesValues = !mode.equals("delete_by_key");
        if ("add_columns".equals(schemaEvolution) && !writesValues) {
            throw noEffect(Option.SCHEMA_EVOLUTION, "leave it out");
        }
        if (syncSequences && !writesValues) {
            throw noEffect(Option.SYNC_SEQUENCES, "leave it out");
        }
    }

    /** Whether a part of the table is overwritten. */
    boolean hasPart() {
        return !replaceBy.isEmpty() || replaceWhere != null;
    }

    /** Rejects rules of an upsert in other modes, and rules that contradict each other. */
    private void checkChanges() {
        List<String> upsert = Collections.singletonList("upsert");
        if (!deleteWhen.isEmpty()) {
            onlyIn(Option.DELETE_WHEN, upsert);
        }
        if (newerBy != null) {
            onlyIn(Option.NEWER_BY, upsert);
        }
        if (tombstone != null) {
            onlyIn(Option.TOMBSTONE, upsert);
        }
        if (!updateColumns.isEmpty()) {
            onlyIn(Option.UPDATE_COLUMNS, upsert);
        }
        if (!insertColumns.isEmpty()) {
            onlyIn(Option.INSERT_COLUMNS, upsert);
        }
        if (envelope != null) {
            onlyIn(Option.ENVELOPE, upsert);
            if (!deleteWhen.isEmpty() || orderBy != null) {
                Option other = deleteWhen.isEmpty() ? Option.ORDER_BY : Option.DELETE_WHEN;
                throw PgFlightException.invalid(
                                "option " + other.text() + " has no meaning with option envelope, which says it")
                        .withHint("leave it out");
            }
        }
        boolean deletes = !deleteWhen.isEmpty() || envelope != null;
        if (tombstone != null && (!deletes || newerBy == null)) {
            throw PgFlightException.invalid("option tombstone is set, and not both deleteWhen and newerBy")
                    .withHint("set them too, or leave it out");
        }
        if (deletes && createIfMissing) {
            Option named = envelope != null ? Option.ENVELOPE : Option.DELETE_WHEN;
            throw PgFlightException.invalid("option " + named.text() + " needs a table that exists")
                    .withHint("leave createTable out");
        }
    }

    /** Rejects options that contradict the overwrite of a part. */
    private void checkPart() {
        if (!hasPart()) {
            return;
        }
        Option part = replaceBy.isEmpty() ? Option.REPLACE_WHERE : Option.REPLACE_BY;
        onlyIn(part, Collections.singletonList("overwrite"));
        if (!replaceBy.isEmpty() && replaceWhere != null) {
            throw PgFlightException.invalid("options replaceBy and replaceWhere contradict each other")
                    .withHint("leave one of them out");
        }
        if (overwriteWith != null || !primaryKey.isEmpty() || tableOptions != null) {
            Option other =
                    overwriteWith != null
                            ? Option.OVERWRITE_WITH
                            : primaryKey.isEmpty() ? Option.TABLE_OPTIONS : Option.PRIMARY_KEY;
            throw PgFlightException.invalid("option " + other.text() + " has no effect with " + part.text())
                    .withHint("leave one of them out");
        }
    }

    /** Returns the {@code WriteSpec} of the protocol. */
    Map<String, Object> spec(String table) {
        Map<String, Object> spec = new LinkedHashMap<>();
        spec.put("table", table);
        putSet(spec, "target", target);
        putSet(spec, "before", before);
        putSet(spec, "after", after);
        rejects.put(spec);
        putSet(spec, "columnTypes", columnTypes);
        putSet(spec, "conversions", withLocalTimestamps());
        String field = KEYED_MODES.getOrDefault(mode, mode);
        spec.put(field, modeOptions());
        return spec;
    }

    /** Returns the conversions, with the zone of localTimestamps as that of all columns. */
    private Map<String, Map<String, Object>> withLocalTimestamps() {
        if (localTimestamps == null) {
            return conversions;
        }
        Map<String, Map<String, Object>> all = new LinkedHashMap<>(conversions);
        Map<String, Object> fields = new LinkedHashMap<>(all.getOrDefault(ALL_COLUMNS, Collections.emptyMap()));
        if (fields.put("zone", localTimestamps) != null) {
            throw PgFlightException.invalid(
                            "option localTimestamps contradicts the zone in the conversion of column *")
                    .withHint("leave one of them out");
        }
        all.put(ALL_COLUMNS, fields);
        return all;
    }

    private Map<String, Object> modeOptions() {
        Map<String, Object> fields = new LinkedHashMap<>();
        putSet(fields, "keys", keys);
        putSet(fields, "orderBy", orderBy);
        putSet(fields, "ifExists", enumValue("IF_EXISTS", ifExists));
        putSet(fields, "with", enumValue("OVERWRITE_WITH", overwriteWith));
        putSet(fields, "deleteWhen", deleteWhen);
        putSet(fields, "newerBy", newerBy);
        putSet(fields, "tombstone", tombstone);
        putSet(fields, "updateColumns", updateColumns);
        putSet(fields, "insertColumns", insertColumns);
        putSet(fields, "envelope", enumValue("ENVELOPE", envelope));
        putSet(fields, "replaceBy", replaceBy);
        putSet(fields, "replaceWhere", replaceWhere);
        putSet(fields, "syncSequences", syncSequences);
        if (mode.equals("append")) {
            putSet(fields, "publish", enumValue("PUBLISH", publish));
        }
        if (mode.equals("delete_by_key")) {
            putSet(fields, "ignoreUnknownColumns", "ignore".equals(schemaEvolution));
        } else {
            putSet(fields, "schemaEvolution", enumValue("SCHEMA_EVOLUTION", schemaEvolution));
        }
        Map<String, Object> newTable = new LinkedHashMap<>();
        putSet(newTable, "primaryKey", primaryKey);
        putSet(newTable, "options", tableOptions);
        if (mode.equals("create") || mode.equals("overwrite") && !hasPart()) {
            putSet(fields, "newTable", newTable);
        }
        if (createIfMissing) {
            fields.put("createIfMissing", newTable);
        }
        return fields;
    }

    private boolean isKeyed() {
        return KEYED_MODES.containsKey(mode);
    }

    /** Rejects options of a new table if the write makes none. */
    private void onlyWhereMade(Option option) {
        if (MAKING_MODES.contains(mode) && !createIfMissing) {
            throw PgFlightException.invalid(
                            "option " + option.text() + " has no effect, since mode '" + mode + "' makes no table")
                    .withHint("leave it out, or set createTable");
        }
        if (hasPart()) {
            throw PgFlightException.invalid(
                            "option " + option.text() + " has no effect, since an overwrite of a part makes no table")
                    .withHint("leave it out");
        }
        List<String> modes = new ArrayList<>(Arrays.asList("create", "overwrite"));
        modes.addAll(MAKING_MODES);
        onlyIn(option, modes);
    }

    private void onlyIn(Option option, List<String> modes) {
        if (!modes.contains(mode)) {
            throw noEffect(option, "leave it out, or use mode '" + String.join("', '", modes) + "'");
        }
    }

    private PgFlightException noEffect(Option option, String hint) {
        return PgFlightException.invalid("option " + option.text() + " has no effect in mode '" + mode + "'")
                .withHint(hint);
    }

    static void checkWord(Option option, String value, List<String> words) {
        if (value != null && !words.contains(value)) {
            throw PgFlightException.invalid("option " + option.text() + " is '" + value + "', which is unknown")
                    .withHint("use one of " + String.join(", ", words));
        }
    }

    static String enumValue(String prefix, String word) {
        return word == null ? null : (prefix + "_" + word).toUpperCase(Locale.ROOT);
    }

    /** Puts a field unless it has its default. */
    static void putSet(Map<String, Object> fields, String name, Object value) {
        boolean isDefault =
                value == null
                        || Boolean.FALSE.equals(value)
                        || value.equals(Collections.emptyList())
                        || value.equals(Collections.emptyMap());
        if (!isDefault) {
            fields.put(name, value);
        }
    }
}
