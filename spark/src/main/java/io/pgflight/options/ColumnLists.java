package io.pgflight.options;

import io.pgflight.PgFlightException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Reads lists of columns as Spark's JDBC source writes them. Names may stand in back quotes or double quotes. */
final class ColumnLists {
    private ColumnLists() {}

    /** Reads names separated by commas: {@code id, `a,b`}. */
    static List<String> names(String text) {
        List<String> names = new ArrayList<>();
        for (String part : split(text)) {
            char quote = part.charAt(0);
            boolean isQuoted =
                    part.length() > 1 && isNameQuote(quote) && part.charAt(part.length() - 1) == quote;
            names.add(isQuoted ? unquoted(part.substring(1, part.length() - 1), quote) : part);
        }
        return names;
    }

    /**
     * Reads {@code name VARCHAR(64), fare DECIMAL(10,2)}. PostgreSQL reads the types.
     *
     * @throws PgFlightException if a column has no type or comes twice
     */
    static Map<String, String> types(String text) {
        Map<String, String> types = new LinkedHashMap<>();
        for (String part : split(text)) {
            int end = endOfName(part);
            char quote = part.charAt(0);
            String name = part.substring(0, end);
            if (isNameQuote(quote) && end > 1) {
                name = unquoted(part.substring(1, end - 1), quote);
            }
            String type = part.substring(end).trim();
            if (name.isEmpty() || type.isEmpty()) {
                throw PgFlightException.invalid("createTableColumnTypes has no type for a column")
                        .with("column", name.isEmpty() ? part : name);
            }
            if (types.put(name, type) != null) {
                throw PgFlightException.invalid("createTableColumnTypes names a column twice")
                        .with("column", name);
            }
        }
        return types;
    }

    private static int endOfName(String part) {
        char quote = part.charAt(0);
        if (!isNameQuote(quote)) {
            int end = 0;
            while (end < part.length() && !Character.isWhitespace(part.charAt(end))) {
                end++;
            }
            return end;
        }
        // A doubled quote within the name stands for one quote. `split` has seen the end.
        for (int end = 1; end < part.length(); end++) {
            if (part.charAt(end) == quote) {
                if (end + 1 < part.length() && part.charAt(end + 1) == quote) {
                    end++;
                } else {
                    return end + 1;
                }
            }
        }
        return part.length();
    }

    private static boolean isNameQuote(char letter) {
        return letter == '`' || letter == '"';
    }

    private static String unquoted(String name, char quote) {
        String one = String.valueOf(quote);
        return name.replace(one + one, one);
    }

    /** Splits at the commas outside parentheses and quotes. */
    private static List<String> split(String text) {
        List<String> parts = new ArrayList<>();
        StringBuilder part = new StringBuilder();
        int depth = 0;
        char quote = 0;
        for (char letter : text.toCharArray()) {
            if (quote != 0) {
                quote = letter == quote ? 0 : quote;
            } else if (letter == '`' || letter == '"' || letter == '\'') {
                quote = letter;
            } else if (letter == '(' || letter == ')') {
                depth += letter == '(' ? 1 : -1;
            } else if (letter == ',' && depth == 0) {
                add(parts, part);
                continue;
            }
            part.append(letter);
        }
        if (quote != 0 || depth != 0) {
            throw PgFlightException.invalid("an option has an open quote or parenthesis without its end");
        }
        add(parts, part);
        return parts;
    }

    private static void add(List<String> parts, StringBuilder part) {
        String trimmed = part.toString().trim();
        if (!trimmed.isEmpty()) {
            parts.add(trimmed);
        }
        part.setLength(0);
    }
}
