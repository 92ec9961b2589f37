package io.pgflight.spark;

import io.pgflight.PgFlightException;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.apache.spark.sql.connector.catalog.SupportsRead;
import org.apache.spark.sql.connector.catalog.SupportsRowLevelOperations;
import org.apache.spark.sql.connector.catalog.SupportsWrite;
import org.apache.spark.sql.connector.catalog.TableCapability;
import org.apache.spark.sql.connector.read.ScanBuilder;
import org.apache.spark.sql.connector.write.LogicalWriteInfo;
import org.apache.spark.sql.connector.write.RowLevelOperationBuilder;
import org.apache.spark.sql.connector.write.RowLevelOperationInfo;
import org.apache.spark.sql.connector.write.WriteBuilder;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/** A table as the target of writes. Reading it and changing its rows by SQL are rejected with what does it. */
public final class PgFlightTable implements SupportsWrite, SupportsRead, SupportsRowLevelOperations {
    private final String name;
    private final StructType schema;
    private final boolean takesAnySchema;
    private final Map<String, String> options;

    /**
     * @param schema the schema that Spark sees
     * @param takesAnySchema whether the server, not Spark, matches the columns of the frame with those of the table
     * @param options options that the catalog gives to each write
     */
    public PgFlightTable(String name, StructType schema, boolean takesAnySchema, Map<String, String> options) {
        this.name = name;
        this.schema = schema;
        this.takesAnySchema = takesAnySchema;
        this.options = options;
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public StructType schema() {
        return schema;
    }

    @Override
    public Set<TableCapability> capabilities() {
        EnumSet<TableCapability> capabilities =
                EnumSet.of(
                        TableCapability.BATCH_READ,
                        TableCapability.BATCH_WRITE,
                        TableCapability.STREAMING_WRITE,
                        TableCapability.TRUNCATE,
                        TableCapability.OVERWRITE_BY_FILTER,
                        TableCapability.OVERWRITE_DYNAMIC);
        if (takesAnySchema) {
            capabilities.add(TableCapability.ACCEPT_ANY_SCHEMA);
        }
        return capabilities;
    }

    @Override
    public WriteBuilder newWriteBuilder(LogicalWriteInfo info) {
        Map<String, String> all = new HashMap<>(options);
        info.options().forEach((option, value) -> all.put(option.toLowerCase(java.util.Locale.ROOT), value));
        return new PgFlightWriteBuilder(all, info);
    }

    @Override
    public ScanBuilder newScanBuilder(CaseInsensitiveStringMap given) {
        throw PgFlightException.unsupported("pgflight only writes").withHint("read by Spark's format('jdbc'); change rows by option writeMode of a write");
    }

    @Override
    public RowLevelOperationBuilder newRowLevelOperationBuilder(RowLevelOperationInfo info) {
        throw PgFlightException.unsupported(info.command() + " is not supported")
                .withHint(
                        "write the changed rows with option writeMode: upsert, update_only, insert_if_absent or"
                                + " delete_by_key");
    }
}
