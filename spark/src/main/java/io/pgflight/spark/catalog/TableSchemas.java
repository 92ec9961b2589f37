package io.pgflight.spark.catalog;

import io.pgflight.PgFlightException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.util.List;
import org.apache.arrow.vector.ipc.ReadChannel;
import org.apache.arrow.vector.ipc.message.MessageSerializer;
import org.apache.arrow.vector.types.FloatingPointPrecision;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.Metadata;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;

/**
 * Spark's view of a table's columns, to which it casts what SQL inserts. A type that Spark lacks is text, which the
 * server converts to the type of the column.
 */
public final class TableSchemas {
    private static final int MAX_PRECISION = 38;

    private TableSchemas() {}

    /** Reads an encapsulated IPC message with an Arrow schema. */
    public static StructType read(byte[] message) {
        try (ReadChannel channel = new ReadChannel(Channels.newChannel(new ByteArrayInputStream(message)))) {
            return struct(MessageSerializer.deserializeSchema(channel).getFields());
        } catch (IOException error) {
            throw PgFlightException.of("INTERNAL", "the server sent a schema that cannot be read").causedBy(error);
        }
    }

    /** All columns are nullable: Spark 3 rejects most frames for others, and the server names the row with a NULL. */
    private static StructType struct(List<Field> fields) {
        StructField[] columns =
                fields.stream()
                        .map(field -> new StructField(field.getName(), type(field), true, Metadata.empty()))
                        .toArray(StructField[]::new);
        return new StructType(columns);
    }

    private static DataType type(Field field) {
        ArrowType type = field.getType();
        switch (type.getTypeID()) {
            case Bool:
                return DataTypes.BooleanType;
            case Int:
                return integer(((ArrowType.Int) type).getBitWidth());
            case FloatingPoint:
                boolean isSingle =
                        ((ArrowType.FloatingPoint) type).getPrecision() == FloatingPointPrecision.SINGLE;
                return isSingle ? DataTypes.FloatType : DataTypes.DoubleType;
            case Decimal:
                ArrowType.Decimal decimal = (ArrowType.Decimal) type;
                boolean fits = decimal.getPrecision() <= MAX_PRECISION && decimal.getScale() >= 0;
                return fits
                        ? DataTypes.createDecimalType(decimal.getPrecision(), decimal.getScale())
                        : DataTypes.StringType;
            case Date:
                return DataTypes.DateType;
            case Timestamp:
                boolean hasZone = ((ArrowType.Timestamp) type).getTimezone() != null;
                return hasZone ? DataTypes.TimestampType : timestampWithoutZone();
            case Binary:
            case LargeBinary:
                return DataTypes.BinaryType;
            case List:
            case LargeList:
                Field element = field.getChildren().get(0);
                return DataTypes.createArrayType(type(element), element.isNullable());
            case Struct:
                return struct(field.getChildren());
            default:
                return DataTypes.StringType;
        }
    }

    private static DataType integer(int width) {
        switch (width) {
            case 8:
                return DataTypes.ByteType;
            case 16:
                return DataTypes.ShortType;
            case 32:
                return DataTypes.IntegerType;
            default:
                return DataTypes.LongType;
        }
    }

    /** Spark has the type since 3.4. Before, the text of a timestamp is its local time in the session. */
    private static DataType timestampWithoutZone() {
        try {
            return (DataType) DataTypes.class.getField("TimestampNTZType").get(null);
        } catch (ReflectiveOperationException older) {
            return DataTypes.StringType;
        }
    }
}
