package io.pgflight.spark;

import io.pgflight.PgFlightException;
import java.util.Map;
import org.apache.spark.sql.connector.catalog.Table;
import org.apache.spark.sql.connector.catalog.TableProvider;
import org.apache.spark.sql.connector.expressions.Transform;
import org.apache.spark.sql.sources.DataSourceRegister;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/** {@code format("pgflight")}: writes frames and streams to PostgreSQL. {@code docs/spark.md} lists the options. */
public final class PgFlightSource implements TableProvider, DataSourceRegister {
    @Override
    public String shortName() {
        return "pgflight";
    }

    /** Rejects reading; Spark asks for a schema only then. */
    @Override
    public StructType inferSchema(CaseInsensitiveStringMap options) {
        throw PgFlightException.unsupported("format('pgflight') only writes")
                .withHint("read by Spark's format('jdbc')");
    }

    /** Lets Spark pass the frame's schema. */
    @Override
    public boolean supportsExternalMetadata() {
        return true;
    }

    @Override
    public Table getTable(StructType schema, Transform[] partitioning, Map<String, String> properties) {
        if (partitioning.length > 0) {
            throw PgFlightException.unsupported("partitionBy has no effect on a table of PostgreSQL")
                    .withHint("leave partitionBy out");
        }
        return new PgFlightTable("pgflight", schema, true, java.util.Collections.emptyMap());
    }
}
