package io.pgflight;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * An error of pgflight, as the server or this client describes it.
 *
 * <p>The message is one line, since Spark shows the first line of a failed task: the fact, then in square brackets the
 * kind of error and the details that are known, then the hint. It never holds the value of a cell or a secret.
 */
public final class PgFlightException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** The kind of an error that the server or PostgreSQL may no longer report when the call is repeated. */
    public static final String UNAVAILABLE = "UNAVAILABLE";

    private final String reason;
    private final String fact;
    private final String hint;
    private final LinkedHashMap<String, String> details;

    private PgFlightException(
            String reason, String fact, String hint, Map<String, String> details, Throwable cause) {
        super(line(reason, fact, hint, details), cause);
        this.reason = reason;
        this.fact = fact;
        this.hint = hint;
        this.details = new LinkedHashMap<>(details);
    }

    /** Returns an error of this kind, such as {@code DATA_REJECTED}. The fact is one line of lower-case text. */
    public static PgFlightException of(String reason, String fact) {
        return new PgFlightException(reason, fact, null, new LinkedHashMap<>(), null);
    }

    /** Returns an error about an argument, option or command that cannot be understood. */
    public static PgFlightException invalid(String fact) {
        return of("INVALID_COMMAND", fact);
    }

    /** Returns an error about a type, option or call that is not supported. */
    public static PgFlightException unsupported(String fact) {
        return of("UNSUPPORTED", fact);
    }

    /** Returns the same error with what to do about it. */
    public PgFlightException withHint(String newHint) {
        return new PgFlightException(reason, fact, newHint, details, getCause());
    }

    /** Returns the same error with one more detail: {@code sqlstate}, {@code table}, {@code column}, {@code row}, … */
    public PgFlightException with(String name, Object value) {
        LinkedHashMap<String, String> more = new LinkedHashMap<>(details);
        if (value != null) {
            more.put(name, value.toString());
        }
        return new PgFlightException(reason, fact, hint, more, getCause());
    }

    /** Returns the same error with its cause. */
    public PgFlightException causedBy(Throwable cause) {
        return new PgFlightException(reason, fact, hint, details, cause);
    }

    /** Returns an error of the same kind that says what failed because of this one. */
    public PgFlightException because(String what, String newHint) {
        return new PgFlightException(reason, what + ": " + fact, newHint, details, this);
    }

    /** Returns the kind of error in capitals, as the server names it. */
    public String reason() {
        return reason;
    }

    /** Returns the bare fact, without details and hint. */
    public String fact() {
        return fact;
    }

    /** Returns what to do about it; null if nothing is known. */
    public String hint() {
        return hint;
    }

    /** Returns one detail; null if it is not known. */
    public String detail(String name) {
        return details.get(name);
    }

    /** Whether the same call may succeed later. */
    public boolean isRetryable() {
        return UNAVAILABLE.equals(reason) && !"false".equals(details.get("retryable"));
    }

    /** Whether the commit of the write is decided, so that the same call returns its result later. */
    public boolean isDecided() {
        return "true".equals(details.get("decided"));
    }

    private static String line(
            String reason, String fact, String hint, Map<String, String> details) {
        StringBuilder line = new StringBuilder(fact).append(" [").append(reason);
        details.forEach(
                (name, value) -> {
                    boolean isBare = name.equals("row") || name.equals("tried_seconds");
                    line.append(' ').append(name).append('=').append(isBare ? value : quoted(value));
                });
        line.append(']');
        if (hint != null) {
            line.append(" Hint: ").append(hint);
        }
        return line.toString().replaceAll("\\s*\\R\\s*", " ");
    }

    private static String quoted(String value) {
        return '"' + value.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }
}
