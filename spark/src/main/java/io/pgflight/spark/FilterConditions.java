package io.pgflight.spark;

import io.pgflight.PgFlightException;
import java.math.BigDecimal;
import java.sql.Date;
import java.sql.Timestamp;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.List;
import org.apache.spark.sql.sources.AlwaysFalse;
import org.apache.spark.sql.sources.AlwaysTrue;
import org.apache.spark.sql.sources.And;
import org.apache.spark.sql.sources.EqualNullSafe;
import org.apache.spark.sql.sources.EqualTo;
import org.apache.spark.sql.sources.Filter;
import org.apache.spark.sql.sources.GreaterThan;
import org.apache.spark.sql.sources.GreaterThanOrEqual;
import org.apache.spark.sql.sources.In;
import org.apache.spark.sql.sources.IsNotNull;
import org.apache.spark.sql.sources.IsNull;
import org.apache.spark.sql.sources.LessThan;
import org.apache.spark.sql.sources.LessThanOrEqual;
import org.apache.spark.sql.sources.Not;
import org.apache.spark.sql.sources.Or;

/** Turns the filters of {@code df.writeTo(table).overwrite(condition)} into the text of {@code replaceWhere}. */
final class FilterConditions {
    private FilterConditions() {}

    /**
     * Returns the condition that all filters hold; null if they hold for every row.
     *
     * @throws PgFlightException for a filter that replaceWhere cannot express
     */
    static String of(Filter[] filters) {
        List<String> parts = new ArrayList<>();
        for (Filter filter : filters) {
            if (!(filter instanceof AlwaysTrue)) {
                parts.add(of(filter));
            }
        }
        return parts.isEmpty() ? null : String.join(" AND ", parts);
    }

    private static String of(Filter filter) {
        if (filter instanceof And) {
            return "(" + of(((And) filter).left()) + " AND " + of(((And) filter).right()) + ")";
        } else if (filter instanceof Or) {
            return "(" + of(((Or) filter).left()) + " OR " + of(((Or) filter).right()) + ")";
        } else if (filter instanceof Not) {
            return "(NOT " + of(((Not) filter).child()) + ")";
        } else if (filter instanceof IsNull) {
            return name(((IsNull) filter).attribute()) + " IS NULL";
        } else if (filter instanceof IsNotNull) {
            return name(((IsNotNull) filter).attribute()) + " IS NOT NULL";
        } else if (filter instanceof EqualTo) {
            return compared(((EqualTo) filter).attribute(), "=", ((EqualTo) filter).value());
        } else if (filter instanceof EqualNullSafe) {
            // Unlike EqualTo it is false, and not NULL, for a NULL in the column.
            String column = ((EqualNullSafe) filter).attribute();
            Object value = ((EqualNullSafe) filter).value();
            return value == null
                    ? name(column) + " IS NULL"
                    : "(" + name(column) + " IS NOT NULL AND " + compared(column, "=", value) + ")";
        } else if (filter instanceof GreaterThan) {
            return compared(((GreaterThan) filter).attribute(), ">", ((GreaterThan) filter).value());
        } else if (filter instanceof GreaterThanOrEqual) {
            return compared(((GreaterThanOrEqual) filter).attribute(), ">=", ((GreaterThanOrEqual) filter).value());
        } else if (filter instanceof LessThan) {
            return compared(((LessThan) filter).attribute(), "<", ((LessThan) filter).value());
        } else if (filter instanceof LessThanOrEqual) {
            return compared(((LessThanOrEqual) filter).attribute(), "<=", ((LessThanOrEqual) filter).value());
        } else if (filter instanceof In && ((In) filter).values().length > 0) {
            List<String> values = new ArrayList<>();
            for (Object value : ((In) filter).values()) {
                values.add(literal(value));
            }
            return name(((In) filter).attribute()) + " IN (" + String.join(", ", values) + ")";
        }
        String what = filter instanceof AlwaysTrue || filter instanceof AlwaysFalse ? "a constant" : "this comparison";
        throw PgFlightException.unsupported("the condition of the overwrite has " + what)
                .withHint("compare columns with values by =, <, <=, >, >=, IN and IS NULL, or set option replaceWhere");
    }

    private static String compared(String column, String by, Object value) {
        return name(column) + " " + by + " " + literal(value);
    }

    /** Spark puts names with other characters than letters, digits and underscores in back quotes. */
    private static String name(String column) {
        if (column.startsWith("`")) {
            return column;
        }
        return "\"" + column.replace("\"", "\"\"") + "\"";
    }

    private static String literal(Object value) {
        if (value instanceof Boolean) {
            return value.toString();
        } else if (value instanceof BigDecimal) {
            return ((BigDecimal) value).toPlainString();
        } else if (value instanceof Double || value instanceof Float) {
            // NaN and infinities have names.
            return quoted(value.toString());
        } else if (value instanceof Number) {
            return value.toString();
        } else if (value instanceof Timestamp) {
            return quoted(((Timestamp) value).toInstant().toString());
        } else if (value instanceof Instant || value instanceof LocalDateTime) {
            return quoted(value.toString());
        } else if (value instanceof String || value instanceof Date || value instanceof LocalDate) {
            return quoted(value.toString());
        }
        throw PgFlightException.unsupported("the condition of the overwrite has a value of a type that is not supported")
                .withHint("use numbers, strings, booleans, dates and timestamps, or set option replaceWhere");
    }

    private static String quoted(String text) {
        return "'" + text.replace("'", "''") + "'";
    }
}
