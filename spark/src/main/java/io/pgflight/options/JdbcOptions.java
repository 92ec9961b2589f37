package io.pgflight.options;

import java.util.Collections;
import java.util.HashMap;
import java.util.Map;

/** Options of Spark's JDBC source, by their names in lower case. */
final class JdbcOptions {
    /**
     * Options that a write does not need, and why. They are accepted, so that a job moves by changing its format and
     * url.
     */
    static final Map<String, String> WITHOUT_EFFECT;

    /** Options that would change what is written, and what to do instead. */
    static final Map<String, String> REJECTED;

    static {
        String copy = "rows are streamed through COPY, not sent in batches of statements";
        String reading = "it is for reading";
        Map<String, String> map = new HashMap<>();
        map.put("driver", "no JDBC driver is involved");
        map.put("batchsize", copy);
        map.put("rewritebatchedinserts", copy);
        map.put("isolationlevel", "the write is one transaction, whatever its number of partitions");
        map.put("querytimeout", "timeouts are set on the server");
        map.put(
                "numpartitions",
                "a data source cannot change the number of partitions; call df.coalesce(n) before writing");
        map.put("stringtype", "text is converted to the type of its column");
        for (String name :
                new String[] {
                    "fetchsize", "partitioncolumn", "lowerbound", "upperbound", "customschema",
                    "pushdownpredicate", "pushdownaggregate", "pushdownlimit", "pushdownoffset",
                    "pushdowntablesample"
                }) {
            map.put(name, reading);
        }
        WITHOUT_EFFECT = Collections.unmodifiableMap(map);

        String credentials = "leave it out: the pgflight server holds the database's credentials";
        String query = "name a table in dbtable: only a table can be written";
        Map<String, String> rejected = new HashMap<>();
        for (String name : new String[] {"user", "password", "keytab", "principal", "connectionprovider"}) {
            rejected.put(name, credentials);
        }
        rejected.put("query", query);
        rejected.put("preparequery", query);
        rejected.put(
                "cascadetruncate", "leave it out: tables that refer to the table are never truncated with it");
        rejected.put("sessioninitstatement", "leave it out: the server sets up its sessions");
        REJECTED = Collections.unmodifiableMap(rejected);
    }

    private JdbcOptions() {}
}
