package io.pgflight.flight;

import io.pgflight.PgFlightException;
import java.net.UnknownHostException;
import java.util.Locale;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLPeerUnverifiedException;

/** Says why no server answers at an address, and what to do about it. */
final class Unreachable {
    private static final String NO_SERVER = "check the address, and that `pgflight serve` runs there";

    private static final String MAYBE_TLS =
            "check the port, and use grpc+tls:// if the server there has a certificate";

    private Unreachable() {}

    /**
     * Returns the error of a call that reached no server.
     *
     * @param address the server's address
     * @param status the text of the call's status; may be empty
     * @param cause what the transport reported; may be null
     */
    static PgFlightException toException(String address, String status, Throwable cause) {
        StringBuilder fact = new StringBuilder("could not connect to a pgflight server at ").append(address);
        if (!status.isEmpty()) {
            fact.append(": ").append(status);
        }
        if (cause != null && cause.getMessage() != null) {
            fact.append(" (").append(cause.getMessage()).append(')');
        }
        PgFlightException error =
                PgFlightException.of(PgFlightException.UNAVAILABLE, fact.toString()).causedBy(cause);
        for (Throwable each = cause; each != null; each = each.getCause()) {
            String hint = hint(each, address);
            if (hint != null) {
                return each instanceof SSLException ? error.with("retryable", false).withHint(hint) : error.withHint(hint);
            }
        }
        return error.withHint(isCutOff(status, address) ? MAYBE_TLS : NO_SERVER);
    }

    private static String hint(Throwable cause, String address) {
        String text = String.valueOf(cause.getMessage()).toLowerCase(Locale.ROOT);
        if (cause instanceof SSLPeerUnverifiedException) {
            return "connect by a name that the server's certificate holds";
        }
        if (cause instanceof SSLException) {
            if (text.contains("unrecognized ssl message")) {
                return "the server there speaks no TLS, or is no pgflight server: use grpc://, or another port";
            }
            return text.contains("certificat") || text.contains("path building")
                    ? "pass the authority that signed the server's certificate as tlsRootCerts"
                    : null;
        }
        if (cause instanceof UnknownHostException) {
            return "check the name of the host";
        }
        return isCutOff(text, address) ? MAYBE_TLS : null;
    }

    /** Whether the server there may have closed the connection, as this text says. */
    private static boolean isCutOff(String text, String address) {
        String lower = text.toLowerCase(Locale.ROOT);
        boolean isClosed = lower.contains("reset") || lower.contains("closed") || lower.contains("end of stream");
        return isClosed && !address.startsWith("grpc+tls");
    }
}
