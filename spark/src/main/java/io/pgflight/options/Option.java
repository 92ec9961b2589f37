package io.pgflight.options;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** The options of {@code format("pgflight")}, as users write them. Spark ignores the case of their names. */
enum Option {
    WRITE_MODE("writeMode"),
    KEYS("keys"),
    ORDER_BY("orderBy"),
    DELETE_WHEN("deleteWhen"),
    NEWER_BY("newerBy"),
    TOMBSTONE("tombstone"),
    UPDATE_COLUMNS("updateColumns"),
    INSERT_COLUMNS("insertColumns"),
    ENVELOPE("envelope"),
    IF_EXISTS("ifExists"),
    OVERWRITE_WITH("overwriteWith"),
    REPLACE_BY("replaceBy"),
    REPLACE_WHERE("replaceWhere"),
    CREATE_TABLE("createTable"),
    COLUMN_TYPES("createTableColumnTypes"),
    PRIMARY_KEY("primaryKey"),
    TABLE_OPTIONS("createTableOptions"),
    SCHEMA_EVOLUTION("schemaEvolution"),
    CONVERSIONS("conversions"),
    LOCAL_TIMESTAMPS("localTimestamps"),
    SYNC_SEQUENCES("syncSequences"),
    PUBLISH("publish"),
    BEFORE("before"),
    AFTER("after"),
    ON_ERROR("onError"),
    REJECT_LIMIT("rejectLimit"),
    REJECT_PERCENT("rejectPercent"),
    REJECT_KINDS("rejectKinds"),
    REJECT_TABLE("rejectTable"),
    REJECT_VALUES("rejectValues"),
    ON_DUPLICATE("onDuplicate"),
    TARGET("target"),
    URL("url"),
    DBTABLE("dbtable"),
    PATH("path"),
    TRUNCATE("truncate"),
    PARTITION_OVERWRITE_MODE("partitionOverwriteMode"),
    WRITE_ID("writeId"),
    SINK_ID("sinkId"),
    RESUME("resume"),
    RETRY_TIMEOUT("retryTimeout"),
    TOKEN("token"),
    TOKEN_FILE("tokenFile"),
    TLS_ROOT_CERTS("tlsRootCerts"),
    TLS_CLIENT_CERT("tlsClientCert"),
    TLS_CLIENT_KEY("tlsClientKey");

    private final String text;

    Option(String text) {
        this.text = text;
    }

    /** Returns the name as the documentation has it. */
    String text() {
        return text;
    }

    /** Returns the name in lower case, as Spark passes it. */
    String key() {
        return text.toLowerCase(Locale.ROOT);
    }

    static List<String> texts() {
        List<String> texts = new ArrayList<>();
        for (Option option : values()) {
            texts.add(option.text);
        }
        return texts;
    }
}
