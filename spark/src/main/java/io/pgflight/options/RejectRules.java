package io.pgflight.options;

import io.pgflight.PgFlightException;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What happens to rows that cannot be written. {@code docs/rejects.md} says more. */
final class RejectRules {
    private static final List<String> ON_ERROR = Arrays.asList("abort", "reject");
    private static final List<String> VALUES = Arrays.asList("none", "keys", "row");
    private static final List<String> ON_DUPLICATE = Arrays.asList("reject_later", "reject_all");

    String onError;
    Long limit;
    Double percent;
    List<String> kinds = Collections.emptyList();
    String table;
    String values;
    String onDuplicate;

    /**
     * Rejects unknown words, numbers out of range, and rules for rows that are not rejected.
     *
     * @throws PgFlightException for the first of them
     */
    void check() {
        WriteOptions.checkWord(Option.ON_ERROR, onError, ON_ERROR);
        WriteOptions.checkWord(Option.REJECT_VALUES, values, VALUES);
        WriteOptions.checkWord(Option.ON_DUPLICATE, onDuplicate, ON_DUPLICATE);
        if (!"reject".equals(onError)) {
            given().forEach(
                    (option, value) -> {
                        if (value != null && !value.equals(Collections.emptyList())) {
                            throw PgFlightException.invalid(
                                            "option " + option.text() + " is set, and onError is not 'reject'")
                                    .withHint("set onError to 'reject', or leave it out");
                        }
                    });
        }
        if (limit != null && limit < 0) {
            throw PgFlightException.invalid("option rejectLimit is negative")
                    .withHint("name a number of rows, from 0");
        }
        if (percent != null && !(percent >= 0 && percent <= 100)) {
            throw PgFlightException.invalid("option rejectPercent is not a number from 0 to 100")
                    .withHint("name a percentage of the rows, such as 0.5");
        }
    }

    private Map<Option, Object> given() {
        Map<Option, Object> given = new LinkedHashMap<>();
        given.put(Option.REJECT_LIMIT, limit);
        given.put(Option.REJECT_PERCENT, percent);
        given.put(Option.REJECT_KINDS, kinds);
        given.put(Option.REJECT_TABLE, table);
        given.put(Option.REJECT_VALUES, values);
        given.put(Option.ON_DUPLICATE, onDuplicate);
        return given;
    }

    /** Puts the fields of the {@code WriteSpec} that are not defaults. */
    void put(Map<String, Object> spec) {
        WriteOptions.putSet(spec, "onError", WriteOptions.enumValue("ON_ERROR", onError));
        WriteOptions.putSet(spec, "rejectLimit", limit == null ? null : limit.toString());
        WriteOptions.putSet(spec, "rejectPercent", percent);
        WriteOptions.putSet(spec, "rejectKinds", kinds);
        WriteOptions.putSet(spec, "rejectTable", table);
        WriteOptions.putSet(spec, "rejectValues", WriteOptions.enumValue("REJECT_VALUES", values));
        WriteOptions.putSet(spec, "onDuplicate", WriteOptions.enumValue("ON_DUPLICATE", onDuplicate));
    }
}
