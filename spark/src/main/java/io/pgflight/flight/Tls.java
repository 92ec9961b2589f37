package io.pgflight.flight;

import io.grpc.ChannelCredentials;
import io.grpc.TlsChannelCredentials;
import io.pgflight.PgFlightException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;

/** The certificates of TLS, as PEM. They travel to tasks as bytes, since executors may lack the files. */
public final class Tls implements Serializable {
    private static final long serialVersionUID = 1;

    private final byte[] rootCerts;
    private final byte[] clientCert;
    private final byte[] clientKey;

    private Tls(byte[] rootCerts, byte[] clientCert, byte[] clientKey) {
        this.rootCerts = rootCerts;
        this.clientCert = clientCert;
        this.clientKey = clientKey;
    }

    /**
     * Reads certificates from files of the driver. Each path may be null.
     *
     * @param rootCerts certificates to trust, instead of the JVM's own
     * @param clientCert this client's certificate, with those between it and the root
     * @param clientKey the key of the client's certificate, in PKCS #8
     */
    public static Tls read(String rootCerts, String clientCert, String clientKey) {
        if ((clientCert == null) != (clientKey == null)) {
            throw PgFlightException.invalid("options tlsClientCert and tlsClientKey are not both given")
                    .withHint("give both");
        }
        byte[] key = bytes("tlsClientKey", clientKey);
        if (key != null && !new String(key, StandardCharsets.US_ASCII).contains("BEGIN PRIVATE KEY")) {
            throw PgFlightException.invalid("the file of option tlsClientKey holds no key in PKCS #8")
                    .withHint("convert it by openssl pkcs8 -topk8 -nocrypt")
                    .with("path", clientKey);
        }
        return new Tls(bytes("tlsRootCerts", rootCerts), bytes("tlsClientCert", clientCert), key);
    }

    boolean isSet() {
        return rootCerts != null || clientCert != null;
    }

    ChannelCredentials credentials() {
        TlsChannelCredentials.Builder builder = TlsChannelCredentials.newBuilder();
        try {
            if (rootCerts != null) {
                builder.trustManager(stream(rootCerts));
            }
            if (clientCert != null) {
                builder.keyManager(stream(clientCert), stream(clientKey));
            }
        } catch (IOException error) {
            throw PgFlightException.invalid("the certificates cannot be read").causedBy(error);
        }
        return builder.build();
    }

    private static InputStream stream(byte[] bytes) {
        return new ByteArrayInputStream(bytes);
    }

    private static byte[] bytes(String option, String path) {
        if (path == null) {
            return null;
        }
        try {
            return Files.readAllBytes(Paths.get(path));
        } catch (IOException error) {
            throw PgFlightException.invalid(
                            "the file of option " + option + " cannot be read: " + error.getClass().getSimpleName())
                    .with("path", path);
        }
    }
}
