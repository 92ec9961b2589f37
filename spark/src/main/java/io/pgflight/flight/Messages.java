package io.pgflight.flight;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pgflight.PgFlightException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The messages of {@code proto/pgflight/v1}, in the JSON form of protobuf, which the server takes as well: names in
 * lowerCamelCase, 64-bit numbers as text, bytes in base64.
 */
public final class Messages {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String TYPE = "@type";
    private static final String TYPE_URL = "type.googleapis.com/pgflight.v1.";

    private Messages() {}

    /** Returns a message by its name within the package, such as {@code AttemptCommand}. */
    public static byte[] encode(String name, Map<String, ?> fields) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put(TYPE, TYPE_URL + name);
        all.putAll(fields);
        return json(all).getBytes(StandardCharsets.UTF_8);
    }

    /** Returns the fields of a message that the server sent, with its type as {@link #isReady} needs it. */
    @SuppressWarnings("unchecked")
    static Map<String, Object> decode(byte[] body) {
        try {
            return JSON.readValue(body, LinkedHashMap.class);
        } catch (IOException error) {
            throw PgFlightException.of("INTERNAL", "the server sent a message that is no JSON")
                    .withHint("is it a pgflight server?")
                    .causedBy(error);
        }
    }

    /** Whether a message says that PostgreSQL takes the rows of a stream. */
    static boolean isReady(Map<String, Object> message) {
        return (TYPE_URL + "Ready").equals(message.get(TYPE));
    }

    /** Returns a JSON object as the user wrote it; null if the text is none. */
    @SuppressWarnings("unchecked")
    public static Map<String, Object> object(String text) {
        try {
            Object value = JSON.readValue(text, Object.class);
            return value instanceof Map ? (Map<String, Object>) value : null;
        } catch (JsonProcessingException error) {
            return null;
        }
    }

    /** Returns the JSON text of a value made of maps, lists, text, numbers and booleans. */
    public static String json(Object value) {
        try {
            return JSON.writeValueAsString(value);
        } catch (JsonProcessingException error) {
            throw new IllegalStateException(error);
        }
    }

    public static String text(Map<String, Object> message, String field) {
        Object value = message.get(field);
        return value == null ? "" : value.toString();
    }

    /** Returns a 64-bit number, which protobuf's JSON form has as text; 0 if it is left out. */
    public static long number(Map<String, Object> message, String field) {
        Object value = message.get(field);
        return value == null ? 0 : Long.parseLong(value.toString());
    }
}
