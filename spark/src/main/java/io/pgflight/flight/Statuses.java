package io.pgflight.flight;

import io.grpc.Metadata;
import io.grpc.Status;
import io.pgflight.PgFlightException;
import java.util.LinkedHashMap;
import java.util.Map;

/** Turns the status of a call into an error. */
final class Statuses {
    private static final Metadata.Key<byte[]> DETAILS =
            Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
    /** The details that a message shows, in this order. */
    private static final String[] SHOWN = {
        "sqlstate", "table", "column", "row", "constraint", "write_id", "partition", "decided"
    };

    private Statuses() {}

    /**
     * Returns the error of a call that failed.
     *
     * @param address the server's address, for the message if no server answers there
     */
    static PgFlightException toException(Status status, Metadata trailers, String address) {
        byte[] details = trailers == null ? null : trailers.get(DETAILS);
        PgFlightException described = details == null ? null : described(details);
        if (described != null) {
            return described;
        }
        String text = status.getDescription() == null ? "" : status.getDescription();
        String more = text.isEmpty() ? "" : ": " + text;
        switch (status.getCode()) {
            case UNAVAILABLE:
                return Unreachable.toException(address, text, status.getCause());
            case UNAUTHENTICATED:
                return PgFlightException.of("UNAUTHENTICATED", "the call was not authenticated" + more);
            case PERMISSION_DENIED:
                return PgFlightException.of("PERMISSION_DENIED", "the call is not permitted" + more);
            case CANCELLED:
                return PgFlightException.of("CANCELLED", "the call was cancelled" + more);
            case DEADLINE_EXCEEDED:
                return PgFlightException.of("TIMEOUT", "the call took too long" + more);
            case UNIMPLEMENTED:
                return PgFlightException.unsupported("the server does not know the call" + more)
                        .withHint("is it a pgflight server?");
            default:
                return PgFlightException.of("INTERNAL", "the call failed with " + status.getCode() + more)
                        .causedBy(status.getCause());
        }
    }

    /** Reads a {@code google.rpc.Status} with an {@code ErrorInfo} of pgflight; null if it has none. */
    private static PgFlightException described(byte[] status) {
        try {
            // Status.message = 2, .details = 3; Any.type_url = 1, .value = 2.
            for (byte[] any : Wire.all(status, 3)) {
                if (!Wire.text(any, 1).endsWith("/google.rpc.ErrorInfo")) {
                    continue;
                }
                // ErrorInfo.reason = 1, .domain = 2, .metadata = 3 (entries: key = 1, value = 2).
                byte[] info = Wire.last(any, 2);
                if (Wire.text(info, 2).equals("pgflight")) {
                    return described(Wire.text(info, 1), Wire.text(status, 2), info);
                }
            }
        } catch (IllegalArgumentException ignored) {
            // Another server or a proxy made these bytes.
        }
        return null;
    }

    private static PgFlightException described(String reason, String fact, byte[] info) {
        Map<String, String> metadata = new LinkedHashMap<>();
        for (byte[] entry : Wire.all(info, 3)) {
            metadata.put(Wire.text(entry, 1), Wire.text(entry, 2));
        }
        PgFlightException error = PgFlightException.of(reason, fact);
        for (String name : SHOWN) {
            error = error.with(name, metadata.get(name));
        }
        String hint = metadata.get("hint");
        return hint == null ? error : error.withHint(hint);
    }
}
