package io.pgflight.flight;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Deadline;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.okhttp.OkHttpChannelBuilder;
import io.pgflight.PgFlightException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * Calls to one of an endpoint's servers, chosen at random. {@link #renew} goes to the next one, so that a call finds
 * the servers that are up.
 */
public final class Connection implements AutoCloseable {
    private static final String SERVICE = "arrow.flight.protocol.FlightService/";
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    /** Commits may take long; keepalive finds a server that vanished. */
    private static final long KEEPALIVE_SECONDS = 30;
    private static final long KEEPALIVE_TIMEOUT_SECONDS = 20;
    /** Answers are receipts and lists of names. */
    private static final int MAX_ANSWER_BYTES = 64 << 20;

    private static final MethodDescriptor<byte[], byte[]> DO_ACTION =
            method("DoAction", MethodType.SERVER_STREAMING, new BytesMarshaller());
    private static final MethodDescriptor<byte[], byte[]> GET_SCHEMA =
            method("GetSchema", MethodType.UNARY, new BytesMarshaller());
    private static final MethodDescriptor<byte[], byte[]> LIST_FLIGHTS =
            method("ListFlights", MethodType.SERVER_STREAMING, new BytesMarshaller());
    private static final MethodDescriptor<PutMessage, byte[]> DO_PUT =
            method("DoPut", MethodType.BIDI_STREAMING, new PutMessage.Marshaller());

    private final Endpoint endpoint;
    private ManagedChannel channel;
    private Metadata headers;
    private String address;
    private int next = ThreadLocalRandom.current().nextInt(1 << 16);

    Connection(Endpoint endpoint) {
        this.endpoint = endpoint;
        open();
    }

    /** Closes the connection and makes one to the next server. Reads the token file again. */
    public void renew() {
        close();
        open();
    }

    /** Closes the connection. Calls that are under way fail. */
    @Override
    public void close() {
        channel.shutdownNow();
    }

    /**
     * Calls an action and returns its one answer.
     *
     * @param message the name of the request's message within the package
     * @param timeoutSeconds the longest time of the call; 0 for none
     * @throws PgFlightException any error of the server or the connection
     */
    public Map<String, Object> action(
            String action, String message, Map<String, ?> fields, double timeoutSeconds) {
        // Action.type = 1, .body = 2; Result.body = 1.
        byte[] request =
                new Wire.Builder().text(1, action).bytes(2, Messages.encode(message, fields)).build();
        List<byte[]> results = call(DO_ACTION, request, timeoutSeconds);
        if (results.isEmpty()) {
            throw PgFlightException.of("INTERNAL", "the server did not answer the action " + action);
        }
        return Messages.decode(Wire.last(results.get(0), 1));
    }

    /** Calls an action until it answers, for as long as its errors are retryable and the time lasts. */
    public Map<String, Object> patientAction(
            String action, String message, Map<String, ?> fields, double retrySeconds) {
        return patiently(retrySeconds, () -> action(action, message, fields, 0));
    }

    /** Runs a call until it succeeds, for as long as its errors are retryable and the time lasts. */
    public <T> T patiently(double retrySeconds, Supplier<T> call) {
        Patience patience = new Patience(retrySeconds);
        while (true) {
            try {
                return call.get();
            } catch (PgFlightException error) {
                patience.orThrow(error);
            }
            renew();
        }
    }

    /** Returns the encapsulated IPC message with the Arrow schema of a table. */
    public byte[] schemaOf(List<String> path) {
        // FlightDescriptor.type = 1 (PATH = 1), .path = 3; SchemaResult.schema = 1.
        Wire.Builder descriptor = new Wire.Builder().number(1, 1);
        path.forEach(part -> descriptor.text(3, part));
        return Wire.last(call(GET_SCHEMA, descriptor.build(), 0).get(0), 1);
    }

    /** Returns the paths of all tables of a target that the caller may write; of all targets if it is empty. */
    public List<List<String>> tables(String target) {
        // Criteria.expression = 1; FlightInfo.flight_descriptor = 2; FlightDescriptor.path = 3.
        byte[] criteria = new Wire.Builder().text(1, target).build();
        List<List<String>> paths = new ArrayList<>();
        for (byte[] info : call(LIST_FLIGHTS, criteria, 0)) {
            List<String> path = new ArrayList<>();
            for (byte[] part : Wire.all(Wire.last(info, 2), 3)) {
                path.add(new String(part, java.nio.charset.StandardCharsets.UTF_8));
            }
            paths.add(path);
        }
        return paths;
    }

    ClientCall<PutMessage, byte[]> newPut() {
        return channel.newCall(DO_PUT, CallOptions.DEFAULT);
    }

    Metadata headers() {
        Metadata copy = new Metadata();
        copy.merge(headers);
        return copy;
    }

    /** Returns the server's address, for messages. */
    String address() {
        return address;
    }

    private void open() {
        Addresses.Server server = Addresses.choose(endpoint.addresses(), next++);
        address = (endpoint.hasTls() ? "grpc+tls://" : "grpc://") + server.name();
        OkHttpChannelBuilder builder =
                OkHttpChannelBuilder.forAddress(
                        server.host(),
                        server.port(),
                        endpoint.hasTls() ? endpoint.tls().credentials() : InsecureChannelCredentials.create());
        channel =
                builder.overrideAuthority(server.name())
                        .directExecutor()
                        .keepAliveTime(KEEPALIVE_SECONDS, TimeUnit.SECONDS)
                        .keepAliveTimeout(KEEPALIVE_TIMEOUT_SECONDS, TimeUnit.SECONDS)
                        .maxInboundMessageSize(MAX_ANSWER_BYTES)
                        .disableRetry()
                        .build();
        headers = new Metadata();
        String token = endpoint.currentToken();
        if (token != null) {
            headers.put(AUTHORIZATION, "Bearer " + token);
        }
    }

    private List<byte[]> call(
            MethodDescriptor<byte[], byte[]> method, byte[] request, double timeoutSeconds) {
        CallOptions options = CallOptions.DEFAULT;
        if (timeoutSeconds > 0) {
            options = options.withDeadline(Deadline.after((long) (timeoutSeconds * 1000), TimeUnit.MILLISECONDS));
        }
        ClientCall<byte[], byte[]> call = channel.newCall(method, options);
        CompletableFuture<List<byte[]>> answers = new CompletableFuture<>();
        String server = address;
        call.start(
                new ClientCall.Listener<byte[]>() {
                    private final List<byte[]> received = new ArrayList<>();

                    @Override
                    public void onMessage(byte[] message) {
                        received.add(message);
                        call.request(1);
                    }

                    @Override
                    public void onClose(Status status, Metadata trailers) {
                        if (status.isOk()) {
                            answers.complete(received);
                        } else {
                            answers.completeExceptionally(Statuses.toException(status, trailers, server));
                        }
                    }
                },
                headers());
        call.request(1);
        call.sendMessage(request);
        call.halfClose();
        try {
            return answers.get();
        } catch (InterruptedException interrupted) {
            call.cancel("the thread was interrupted", interrupted);
            throw Patience.interrupted();
        } catch (ExecutionException failed) {
            throw (PgFlightException) failed.getCause();
        }
    }

    private static <T> MethodDescriptor<T, byte[]> method(
            String name, MethodType type, MethodDescriptor.Marshaller<T> requests) {
        return MethodDescriptor.<T, byte[]>newBuilder()
                .setFullMethodName(SERVICE + name)
                .setType(type)
                .setRequestMarshaller(requests)
                .setResponseMarshaller(new BytesMarshaller())
                .build();
    }
}
