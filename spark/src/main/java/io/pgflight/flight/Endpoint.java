package io.pgflight.flight;

import io.pgflight.PgFlightException;
import java.io.IOException;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.regex.Pattern;

/** The servers of one database, the credentials for them, and how long calls wait for them. Travels to tasks. */
public final class Endpoint implements Serializable {
    private static final long serialVersionUID = 1;

    /** Seconds for which a call is tried again by default: longer than a restart of PostgreSQL or of a server. */
    public static final double DEFAULT_RETRY_SECONDS = 60;

    private static final String EXAMPLE = "give the address of a pgflight server, as in grpc://host:8815";
    private static final Pattern ADDRESS = Pattern.compile("[^/\\s,@]+:\\d{1,5}");
    private static final Pattern TOKEN = Pattern.compile("[\\x21-\\x7e]+");

    private final String url;
    private final boolean hasTls;
    private final ArrayList<String> addresses;
    private final String token;
    private final String tokenFile;
    private final Tls tls;
    private final double retrySeconds;

    private Endpoint(
            String url,
            boolean hasTls,
            List<String> addresses,
            String token,
            String tokenFile,
            Tls tls,
            double retrySeconds) {
        this.url = url;
        this.hasTls = hasTls;
        this.addresses = new ArrayList<>(addresses);
        this.token = token;
        this.tokenFile = tokenFile;
        this.tls = tls;
        this.retrySeconds = retrySeconds;
    }

    /**
     * Checks an address as a user writes it.
     *
     * @param url {@code grpc://host:port} or, with TLS, {@code grpc+tls://host:port}; several replicas as
     *     {@code grpc://a:8815,b:8815}
     * @param token sent with every call; null for none
     * @param tokenFile a file that holds the token, read for every connection; null for none
     * @throws PgFlightException for a wrong address or credentials; it never holds either
     */
    public static Endpoint parse(
            String url, String token, String tokenFile, Tls tls, double retrySeconds) {
        if (token != null && tokenFile != null) {
            throw PgFlightException.invalid("credentials are given more than once")
                    .withHint("give one of token and tokenFile");
        }
        if (token != null && !TOKEN.matcher(token).matches()) {
            throw PgFlightException.invalid("the token is empty, or holds a space or a non-ASCII character");
        }
        int end = url.indexOf("://");
        String scheme = end < 0 ? "grpc" : url.substring(0, end);
        String rest = end < 0 ? url : url.substring(end + 3);
        if (url.startsWith("jdbc:") || scheme.equals("postgres") || scheme.equals("postgresql")) {
            throw PgFlightException.invalid("the server's address is the address of a database")
                    .withHint(EXAMPLE + "; the server holds the address and credentials of the database");
        }
        boolean hasTls = scheme.equals("grpc+tls");
        if (!hasTls && !scheme.equals("grpc") && !scheme.equals("grpc+tcp")) {
            throw PgFlightException.invalid("the server's address has an unknown scheme")
                    .withHint(EXAMPLE + ", or grpc+tls:// for TLS");
        }
        if (rest.contains("@")) {
            throw PgFlightException.invalid("the server's address holds a user or password")
                    .withHint("set option token instead");
        }
        if (!hasTls && tls.isSet()) {
            throw PgFlightException.invalid("certificates are given for an address without TLS")
                    .withHint("use grpc+tls://");
        }
        List<String> addresses = Arrays.asList(rest.replaceAll("/+$", "").split("\\s*,\\s*", -1));
        for (String address : addresses) {
            if (!ADDRESS.matcher(address).matches()) {
                throw PgFlightException.invalid("the server's address is not a host and a port")
                        .withHint(EXAMPLE);
            }
        }
        String clean = scheme + "://" + String.join(",", addresses);
        return new Endpoint(clean, hasTls, addresses, token, tokenFile, tls, retrySeconds);
    }

    /** Makes a connection. It sends nothing before its first call. */
    public Connection connect() {
        return new Connection(this);
    }

    /** Returns the address for messages, without credentials. */
    public String url() {
        return url;
    }

    /** Returns for how long calls are tried again. */
    public double retrySeconds() {
        return retrySeconds;
    }

    boolean hasTls() {
        return hasTls;
    }

    Tls tls() {
        return tls;
    }

    /** Returns the servers as {@code host:port}. */
    List<String> addresses() {
        return addresses;
    }

    /** Returns the token for a new connection; null without credentials. */
    String currentToken() {
        if (tokenFile == null) {
            return token;
        }
        String read;
        try {
            read = new String(Files.readAllBytes(Paths.get(tokenFile)), StandardCharsets.UTF_8).trim();
        } catch (IOException error) {
            throw PgFlightException.invalid("the token file cannot be read: " + error.getClass().getSimpleName())
                    .with("path", tokenFile);
        }
        if (!TOKEN.matcher(read).matches()) {
            throw PgFlightException.invalid("the token file holds something other than one token")
                    .withHint("write the token alone into it")
                    .with("path", tokenFile);
        }
        return read;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Endpoint
                && url.equals(((Endpoint) other).url)
                && Objects.equals(token, ((Endpoint) other).token)
                && Objects.equals(tokenFile, ((Endpoint) other).tokenFile);
    }

    @Override
    public int hashCode() {
        return Objects.hash(url, token, tokenFile);
    }

    @Override
    public String toString() {
        return url;
    }
}
