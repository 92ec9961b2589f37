package io.pgflight.options;

import io.pgflight.PgFlightException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Reads option {@code deleteWhen}: {@code is_deleted}, or {@code op in ('d', 'D')}. */
final class DeleteWhen {
    private static final String LITERAL = "(?:'(?:[^']|'')*'|-?\\d+)";
    private static final Pattern FORM =
            Pattern.compile(
                    "(?:`((?:[^`]|``)+)`|\"((?:[^\"]|\"\")+)\"|(\\w+))"
                            + "(?:\\s+in\\s*\\((\\s*" + LITERAL + "(?:\\s*,\\s*" + LITERAL + ")*\\s*)\\))?",
                    Pattern.CASE_INSENSITIVE | Pattern.UNICODE_CHARACTER_CLASS);
    private static final Pattern VALUE = Pattern.compile(LITERAL);

    private DeleteWhen() {}

    /**
     * Returns the message {@code DeleteWhen} of the protocol.
     *
     * @throws PgFlightException if the text has another form
     */
    static Map<String, Object> parse(String text) {
        Matcher found = FORM.matcher(text.trim());
        if (!found.matches()) {
            throw PgFlightException.invalid("option deleteWhen is neither a column nor a column and its values")
                    .withHint("write it as in is_deleted, or op in ('d', 'D')");
        }
        String column = found.group(3);
        if (found.group(1) != null) {
            column = found.group(1).replace("``", "`");
        } else if (found.group(2) != null) {
            column = found.group(2).replace("\"\"", "\"");
        }
        Map<String, Object> message = new LinkedHashMap<>();
        message.put("column", column);
        if (found.group(4) != null) {
            List<String> values = new ArrayList<>();
            Matcher value = VALUE.matcher(found.group(4));
            while (value.find()) {
                String literal = value.group();
                boolean isText = literal.startsWith("'");
                values.add(isText ? literal.substring(1, literal.length() - 1).replace("''", "'") : literal);
            }
            message.put("values", values);
        }
        return message;
    }
}
