package io.pgflight.spark.catalog;

import io.pgflight.spark.PgFlightTable;
import java.util.Map;
import java.util.Set;
import org.apache.spark.sql.connector.catalog.StagedTable;
import org.apache.spark.sql.connector.catalog.SupportsWrite;
import org.apache.spark.sql.connector.catalog.TableCapability;
import org.apache.spark.sql.connector.write.BatchWrite;
import org.apache.spark.sql.connector.write.LogicalWriteInfo;
import org.apache.spark.sql.connector.write.SupportsTruncate;
import org.apache.spark.sql.connector.write.WriteBuilder;
import org.apache.spark.sql.connector.write.WriterCommitMessage;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/**
 * A table that CREATE TABLE AS makes, or whose rows it replaces. The commit of the write makes the table and its rows
 * visible at once, so nothing is left to do when Spark commits the table afterwards.
 */
public final class NewTable implements StagedTable, SupportsWrite {
    private final PgFlightTable table;
    private final boolean replaces;

    /**
     * Makes nothing yet: Spark writes to the table, and the write makes it.
     *
     * @param options the options of the write
     * @param replaces whether the write replaces the rows of a table that exists
     */
    public NewTable(String name, StructType schema, Map<String, String> options, boolean replaces) {
        table = new PgFlightTable(name, schema, true, options);
        this.replaces = replaces;
    }

    /** Makes a table without rows. */
    public static void makeEmpty(Map<String, String> options, StructType schema) {
        NewTable made = new NewTable("", schema, options, false);
        BatchWrite write = made.newWriteBuilder(new NoQuery(schema)).build().toBatch();
        write.createBatchWriterFactory(() -> 0);
        write.commit(new WriterCommitMessage[0]);
    }

    @Override
    public WriteBuilder newWriteBuilder(LogicalWriteInfo info) {
        WriteBuilder builder = table.newWriteBuilder(info);
        return replaces ? ((SupportsTruncate) builder).truncate() : builder;
    }

    @Override
    public String name() {
        return table.name();
    }

    @Override
    public StructType schema() {
        return table.schema();
    }

    @Override
    public Set<TableCapability> capabilities() {
        return table.capabilities();
    }

    @Override
    public void commitStagedChanges() {
        // The write is committed.
    }

    @Override
    public void abortStagedChanges() {
        // Spark has aborted the write, if it had begun.
    }

    /** A write that no query runs. */
    private static final class NoQuery implements LogicalWriteInfo {
        private final StructType schema;
        private final String id = java.util.UUID.randomUUID().toString();

        NoQuery(StructType schema) {
            this.schema = schema;
        }

        @Override
        public CaseInsensitiveStringMap options() {
            return CaseInsensitiveStringMap.empty();
        }

        @Override
        public String queryId() {
            return id;
        }

        @Override
        public StructType schema() {
            return schema;
        }
    }
}
