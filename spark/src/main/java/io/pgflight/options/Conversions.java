package io.pgflight.options;

import io.pgflight.PgFlightException;
import io.pgflight.flight.Messages;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The option {@code conversions}: what may be changed in the values of a column. */
final class Conversions {
    /** Fields whose values are words. The protocol names a word after its field: {@code ROUNDING_FLOOR}. */
    private static final Map<String, List<String>> WORDS = new LinkedHashMap<>();
    /** Fields with other values, and the type of the value. */
    private static final Map<String, Class<?>> VALUES = new LinkedHashMap<>();

    static {
        WORDS.put("rounding", Arrays.asList("reject", "floor", "nearest"));
        WORDS.put("nul", Arrays.asList("reject", "remove", "replace"));
        WORDS.put("overflow", Arrays.asList("reject", "clamp", "null", "infinity"));
        WORDS.put("too_long", Arrays.asList("reject", "truncate"));
        WORDS.put(
                "form",
                Arrays.asList("text", "number", "part", "utf8", "utf8_lossy", "hex", "base64", "address"));
        WORDS.put("unit", Arrays.asList("days", "seconds", "milliseconds", "microseconds", "nanoseconds"));
        VALUES.put("zone", String.class);
        VALUES.put("nul_replacement", String.class);
        VALUES.put("infinity_sentinels", Boolean.class);
        VALUES.put("srid", Integer.class);
    }

    private Conversions() {}

    /**
     * Reads {@code {"at": {"rounding": "floor", "zone": "UTC"}}}.
     *
     * @return the {@code Conversion} of each column, as the protocol has it
     * @throws PgFlightException for anything that is not an object, and for an unknown field or value
     */
    static Map<String, Map<String, Object>> parse(String json) {
        Map<String, Object> asked = Messages.object(json);
        if (asked == null) {
            throw PgFlightException.invalid("option conversions is not a JSON object")
                    .withHint(
                            "write it as {\"at\": {\"rounding\": \"floor\", \"zone\": \"UTC\"}, "
                                    + "\"note\": {\"nul\": \"remove\"}}");
        }
        Map<String, Map<String, Object>> all = new LinkedHashMap<>();
        asked.forEach((column, fields) -> all.put(column, message(column, fields)));
        return all;
    }

    private static Map<String, Object> message(String column, Object asked) {
        if (!(asked instanceof Map)) {
            throw PgFlightException.invalid("a conversion is not a mapping")
                    .withHint("write it as {\"rounding\": \"floor\"}")
                    .with("column", column);
        }
        Map<String, Object> fields = new LinkedHashMap<>();
        ((Map<?, ?>) asked).forEach((name, value) -> put(fields, column, name.toString(), value));
        return fields;
    }

    private static void put(Map<String, Object> fields, String column, String name, Object value) {
        List<String> words = WORDS.get(name);
        Class<?> type = VALUES.get(name);
        if (words == null && type == null) {
            List<String> known = new ArrayList<>(WORDS.keySet());
            known.addAll(VALUES.keySet());
            throw PgFlightException.invalid("conversion '" + name + "' is unknown")
                    .withHint("use one of " + String.join(", ", known))
                    .with("column", column);
        }
        if (words != null && !words.contains(value)) {
            throw PgFlightException.invalid("conversion '" + name + "' is '" + value + "', which is unknown")
                    .withHint("use one of '" + String.join("', '", words) + "'")
                    .with("column", column);
        }
        if (type != null && !type.isInstance(value)) {
            throw PgFlightException.invalid("conversion '" + name + "' has a value of the wrong type")
                    .withHint("pass a value of type " + type.getSimpleName().toLowerCase(Locale.ROOT))
                    .with("column", column);
        }
        fields.put(camelCase(name), words == null ? value : (name + "_" + value).toUpperCase(Locale.ROOT));
    }

    private static String camelCase(String name) {
        StringBuilder camel = new StringBuilder();
        for (String part : name.split("_")) {
            camel.append(
                    camel.length() == 0 ? part : part.substring(0, 1).toUpperCase(Locale.ROOT) + part.substring(1));
        }
        return camel.toString();
    }
}
