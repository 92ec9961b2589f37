package io.pgflight.options;

import io.pgflight.PgFlightException;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Reads a time as users write it: {@code 90}, {@code 90s}, {@code 2min}, {@code 1m 30s}, {@code 500ms}. */
public final class Durations {
    private static final Pattern WHOLE = Pattern.compile("(?:\\d+(?:\\.\\d+)?\\s*[a-z]*\\s*)+");
    private static final Pattern PART = Pattern.compile("(\\d+(?:\\.\\d+)?)\\s*([a-z]*)");

    private Durations() {}

    /**
     * Returns a time in seconds.
     *
     * @param option the option's name, for the error
     * @throws PgFlightException if the text is no time
     */
    public static double seconds(String text, String option) {
        String lower = text.trim().toLowerCase(Locale.ROOT);
        double total = 0;
        boolean isTime = WHOLE.matcher(lower).matches();
        Matcher part = PART.matcher(lower);
        while (isTime && part.find()) {
            double unit = unit(part.group(2));
            isTime = unit > 0;
            total += Double.parseDouble(part.group(1)) * unit;
        }
        if (!isTime) {
            throw PgFlightException.invalid("option " + option + " is not a time")
                    .withHint("set it in seconds, or as in '90s' or '2min'");
        }
        return total;
    }

    private static double unit(String word) {
        switch (word.length() > 2 && word.endsWith("s") ? word.substring(0, word.length() - 1) : word) {
            case "ms":
            case "millisecond":
                return 0.001;
            case "":
            case "s":
            case "sec":
            case "second":
                return 1;
            case "m":
            case "min":
            case "minute":
                return 60;
            case "h":
            case "hour":
                return 3600;
            default:
                return -1;
        }
    }
}
