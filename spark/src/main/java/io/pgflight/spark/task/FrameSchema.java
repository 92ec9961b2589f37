package io.pgflight.spark.task;

import io.pgflight.PgFlightException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.arrow.vector.types.DateUnit;
import org.apache.arrow.vector.types.FloatingPointPrecision;
import org.apache.arrow.vector.types.TimeUnit;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;
import org.apache.arrow.vector.types.pojo.Schema;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DecimalType;
import org.apache.spark.sql.types.MapType;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.types.UserDefinedType;

/**
 * The schema of a frame, and the Arrow schema of its batches. Spark's own conversion changes its signature in nearly
 * every release. Travels to tasks.
 */
public final class FrameSchema implements Serializable {
    private static final long serialVersionUID = 1;

    private final StructType schema;
    private transient Schema arrow;

    /**
     * Reads a schema.
     *
     * @throws PgFlightException if two columns have the same name, or for a type that PostgreSQL lacks or Spark cannot
     *     send; it names the column
     */
    public FrameSchema(StructType schema) {
        this.schema = schema;
        Set<String> seen = new HashSet<>();
        for (StructField field : schema.fields()) {
            if (!seen.add(field.name())) {
                throw PgFlightException.invalid("the frame has two columns of the same name")
                        .withHint("rename or drop one of them")
                        .with("column", field.name());
            }
        }
        toArrow();
    }

    /** Returns the names of the columns. */
    public String[] names() {
        return schema.fieldNames();
    }

    /** Returns the schema of the batches. */
    public Schema toArrow() {
        if (arrow == null) {
            List<Field> fields = new ArrayList<>();
            for (StructField field : schema.fields()) {
                fields.add(field(field.name(), field.dataType(), field.nullable(), field.name()));
            }
            arrow = new Schema(fields);
        }
        return arrow;
    }

    /** Whether a column is a duration or contains one. */
    boolean hasInterval() {
        return toArrow().getFields().stream().anyMatch(FrameSchema::hasInterval);
    }

    private static boolean hasInterval(Field field) {
        return field.getType() instanceof ArrowType.Duration
                || field.getChildren().stream().anyMatch(FrameSchema::hasInterval);
    }

    private static Field field(String name, DataType type, boolean isNullable, String column) {
        if (type instanceof UserDefinedType) {
            return field(name, ((UserDefinedType<?>) type).sqlType(), isNullable, column);
        }
        if (type instanceof ArrayType) {
            ArrayType array = (ArrayType) type;
            Field element = field("element", array.elementType(), array.containsNull(), column);
            return nested(name, isNullable, ArrowType.List.INSTANCE, Collections.singletonList(element));
        }
        if (type instanceof MapType) {
            MapType map = (MapType) type;
            List<Field> pair = new ArrayList<>();
            pair.add(field("key", map.keyType(), false, column));
            pair.add(field("value", map.valueType(), map.valueContainsNull(), column));
            Field entries = nested("entries", false, ArrowType.Struct.INSTANCE, pair);
            return nested(name, isNullable, new ArrowType.Map(false), Collections.singletonList(entries));
        }
        if (type instanceof StructType) {
            List<Field> children = new ArrayList<>();
            for (StructField child : ((StructType) type).fields()) {
                children.add(field(child.name(), child.dataType(), child.nullable(), column));
            }
            return nested(name, isNullable, ArrowType.Struct.INSTANCE, children);
        }
        return nested(name, isNullable, plain(type, column), null);
    }

    private static Field nested(String name, boolean isNullable, ArrowType type, List<Field> children) {
        return new Field(name, new FieldType(isNullable, type, null), children);
    }

    /** By the names of the classes, since not every release has every class. */
    private static ArrowType plain(DataType type, String column) {
        switch (nameOf(type)) {
            case "NullType":
                return ArrowType.Null.INSTANCE;
            case "BooleanType":
                return ArrowType.Bool.INSTANCE;
            case "ByteType":
                return new ArrowType.Int(8, true);
            case "ShortType":
                return new ArrowType.Int(16, true);
            case "IntegerType":
                return new ArrowType.Int(32, true);
            case "LongType":
                return new ArrowType.Int(64, true);
            case "FloatType":
                return new ArrowType.FloatingPoint(FloatingPointPrecision.SINGLE);
            case "DoubleType":
                return new ArrowType.FloatingPoint(FloatingPointPrecision.DOUBLE);
            case "StringType":
            case "CharType":
            case "VarcharType":
                return ArrowType.Utf8.INSTANCE;
            case "BinaryType":
                return ArrowType.Binary.INSTANCE;
            case "DecimalType":
                DecimalType decimal = (DecimalType) type;
                return new ArrowType.Decimal(decimal.precision(), decimal.scale(), 128);
            case "DateType":
                return new ArrowType.Date(DateUnit.DAY);
            case "TimestampType":
                return new ArrowType.Timestamp(TimeUnit.MICROSECOND, "UTC");
            case "TimestampNTZType":
                return new ArrowType.Timestamp(TimeUnit.MICROSECOND, null);
            case "TimeType":
                return new ArrowType.Time(TimeUnit.NANOSECOND, 64);
            case "DayTimeIntervalType":
                return new ArrowType.Duration(TimeUnit.MICROSECOND);
            default:
                throw PgFlightException.unsupported("Spark's type " + type.simpleString() + " cannot be written")
                        .withHint(hint(type))
                        .with("column", column);
        }
    }

    private static String hint(DataType type) {
        switch (nameOf(type)) {
            case "YearMonthIntervalType":
                return "cast the column to string or to a number";
            case "CalendarIntervalType":
                return "cast the column to string, or use a day-time interval";
            case "VariantType":
                return "write to_json(column) into a jsonb column";
            case "GeometryType":
            case "GeographyType":
                return "write st_asbinary(column) into a geometry, geography or bytea column";
            default:
                return "cast the column to string";
        }
    }

    private static String nameOf(DataType type) {
        return type.getClass().getSimpleName().replace("$", "");
    }
}
