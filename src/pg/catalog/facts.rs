//! The facts that decide whether a server can work in a database: version, rights, settings, TLS.

use crate::error::Result;
use crate::pg::ledger::{LedgerVersion, ledger_version};
use crate::pg::transaction::Transaction;

/// The facts about PostgreSQL and the server's role.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// `server_version_num`, as in `150018`.
    pub version_number: i32,
    /// `server_version`, as in `15.18`.
    pub version: String,
    /// The role whose rights count, quoted for SQL.
    pub role: String,
    /// The role that logs in, whose settings and limits count, quoted for SQL.
    pub login: String,
    /// The database, quoted for SQL.
    pub database: String,
    /// The state of the ledger.
    pub ledger: LedgerFacts,
    /// Whether the role may create temporary tables.
    pub may_make_temporary: bool,
    /// The largest number of connections of the role, by settings and limits.
    pub max_connections: i64,
    /// The setting or limit that decides it.
    pub connections_limited_by: String,
    /// Number of connections that other clients have now.
    pub connections_in_use: i64,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: i64,
    /// The version of TLS, if the connection has it.
    pub tls: Option<String>,
    /// Whether the connection stays on this machine.
    pub is_local: bool,
    /// The encoding of the database, as in `UTF8`.
    pub encoding: String,
    /// The source of `default_transaction_read_only` if it is on: `database`, `user`, `configuration file`.
    pub read_only_by: Option<String>,
    /// The settings of the role that end a long COPY, with their values.
    pub timeouts: Vec<String>,
}

/// The state of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerFacts {
    /// It does not exist.
    Missing {
        /// Whether the role may create it.
        may_make: bool,
    },
    /// An older pgflight created it.
    Old {
        /// Its version.
        version: usize,
        /// Whether the role may migrate it.
        may_change: bool,
    },
    /// It exists, and the role lacks these privileges.
    Lacking(Vec<String>),
    /// A newer pgflight created it, and the role has the privileges.
    Newer {
        /// Its version.
        version: usize,
    },
    /// It exists, and the role has the privileges.
    Good,
}

/// Reads the facts.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn server_facts(transaction: &Transaction) -> Result<ServerFacts> {
    let row = transaction.query_one(FACTS, &[]).await?;
    let has_ledger: bool = row.get("has_ledger");
    let version = if has_ledger && row.get::<_, bool>("may_read") {
        ledger_version(transaction).await?
    } else {
        LedgerVersion::Current
    };
    let lacking: Vec<String> = row.get("lacking");
    let ledger = match version {
        _ if !has_ledger => LedgerFacts::Missing {
            may_make: row.get("may_make_ledger"),
        },
        _ if !lacking.is_empty() => LedgerFacts::Lacking(lacking),
        LedgerVersion::Old(version) => LedgerFacts::Old {
            version,
            may_change: row.get("owns_ledger"),
        },
        LedgerVersion::Newer(version) => LedgerFacts::Newer { version },
        LedgerVersion::Current | LedgerVersion::Missing => LedgerFacts::Good,
    };
    Ok(ServerFacts {
        version_number: row.get("version_number"),
        version: row.get("version"),
        role: row.get("role"),
        login: row.get("login"),
        database: row.get("database"),
        ledger,
        may_make_temporary: row.get("may_make_temporary"),
        max_connections: row.get("max_connections"),
        connections_limited_by: row.get("limited_by"),
        connections_in_use: row.get("in_use"),
        max_prepared_transactions: row.get("max_prepared"),
        tls: row.get("tls"),
        is_local: row.get("is_local"),
        encoding: row.get("encoding"),
        read_only_by: row.get("read_only_by"),
        timeouts: row.get("timeouts"),
    })
}

/// Returns the columns of each unique index that ON CONFLICT can use, quoted for SQL.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn unique_keys(transaction: &Transaction, table_oid: u32) -> Result<Vec<String>> {
    let rows = transaction.query(UNIQUE_KEYS, &[&table_oid]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

const FACTS: &str = "
    WITH limits(most, reason) AS (
        SELECT pg_catalog.current_setting('max_connections')::bigint
               OPERATOR(pg_catalog.-) CASE WHEN r.rolsuper THEN 0
                 ELSE pg_catalog.current_setting('superuser_reserved_connections')::bigint OPERATOR(pg_catalog.+)
                      COALESCE(pg_catalog.current_setting('reserved_connections', true)::bigint, 0) END,
               'max_connections'
        FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) session_user
        UNION ALL
        SELECT r.rolconnlimit, pg_catalog.concat('the connection limit of role ', pg_catalog.quote_ident(r.rolname))
        FROM pg_catalog.pg_roles r
        WHERE r.rolname OPERATOR(pg_catalog.=) session_user AND r.rolconnlimit OPERATOR(pg_catalog.>=) 0
          AND NOT r.rolsuper
        UNION ALL
        SELECT d.datconnlimit, 'the connection limit of the database'
        FROM pg_catalog.pg_database d
        WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
          AND d.datconnlimit OPERATOR(pg_catalog.>=) 0),
    ledger(tables) AS (
        SELECT ARRAY(SELECT c.oid FROM pg_catalog.pg_class c
                     WHERE c.relnamespace OPERATOR(pg_catalog.=)
                           pg_catalog.to_regnamespace('pgflight')::pg_catalog.oid
                       AND c.relname OPERATOR(pg_catalog.=)
                           ANY (ARRAY['migration', 'write', 'attempt', 'heartbeat', 'watch', 'sink'])))
    SELECT pg_catalog.current_setting('server_version_num')::integer AS version_number,
           pg_catalog.current_setting('server_version') AS version,
           pg_catalog.quote_ident(current_user) AS role,
           pg_catalog.quote_ident(session_user) AS login,
           pg_catalog.quote_ident(pg_catalog.current_database()) AS database,
           EXISTS (SELECT FROM pg_catalog.pg_class c
                   JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                   WHERE n.nspname OPERATOR(pg_catalog.=) 'pgflight'
                     AND c.relname OPERATOR(pg_catalog.=) 'migration') AS has_ledger,
           COALESCE((SELECT pg_catalog.has_schema_privilege(n.oid, 'CREATE, USAGE')
                     FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'pgflight'),
                    pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')) AS may_make_ledger,
           COALESCE((SELECT pg_catalog.bool_and(pg_catalog.pg_has_role(c.relowner, 'USAGE'))
                     FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) ANY (ledger.tables)),
                    false) AS owns_ledger,
           COALESCE((SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                            AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
                     FROM pg_catalog.pg_class c
                     JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                     WHERE n.nspname OPERATOR(pg_catalog.=) 'pgflight'
                       AND c.relname OPERATOR(pg_catalog.=) 'migration'), false) AS may_read,
           ARRAY(SELECT pg_catalog.concat(need, ' ON SCHEMA pgflight')
                 FROM pg_catalog.unnest(ARRAY['USAGE', 'CREATE']) need, pg_catalog.pg_namespace n
                 WHERE n.nspname OPERATOR(pg_catalog.=) 'pgflight'
                   AND NOT pg_catalog.has_schema_privilege(n.oid, need)
                 UNION ALL
                 SELECT pg_catalog.concat(need, ' ON ALL TABLES IN SCHEMA pgflight')
                 FROM pg_catalog.unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) need
                 WHERE EXISTS (SELECT FROM pg_catalog.unnest(ledger.tables) t
                               WHERE NOT pg_catalog.has_table_privilege(t, need))) AS lacking,
           pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY') AS may_make_temporary,
           (SELECT most FROM limits ORDER BY most LIMIT 1) AS max_connections,
           (SELECT reason FROM limits ORDER BY most LIMIT 1) AS limited_by,
           (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
            WHERE backend_type OPERATOR(pg_catalog.=) 'client backend'
              AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()) AS in_use,
           pg_catalog.current_setting('max_prepared_transactions')::bigint AS max_prepared,
           (SELECT s.version FROM pg_catalog.pg_stat_ssl s
            WHERE s.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND s.ssl) AS tls,
           COALESCE(pg_catalog.inet_server_addr() OPERATOR(pg_catalog.<<=) '127.0.0.0/8'
                    OR pg_catalog.inet_server_addr() OPERATOR(pg_catalog.=) '::1', true) AS is_local,
           pg_catalog.current_setting('server_encoding') AS encoding,
           (SELECT s.source FROM pg_catalog.pg_settings s
            WHERE s.name OPERATOR(pg_catalog.=) 'default_transaction_read_only'
              AND s.setting OPERATOR(pg_catalog.=) 'on') AS read_only_by,
           ARRAY(SELECT pg_catalog.concat(s.name, ' = ', pg_catalog.current_setting(s.name))
                 FROM pg_catalog.pg_settings s
                 WHERE s.name OPERATOR(pg_catalog.=) ANY (ARRAY['statement_timeout', 'transaction_timeout'])
                   AND s.setting OPERATOR(pg_catalog.<>) '0'
                 ORDER BY s.name) AS timeouts
    FROM ledger";

const UNIQUE_KEYS: &str = "
    SELECT (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.number)
            FROM pg_catalog.unnest((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1])
                 WITH ORDINALITY k(attnum, number)
            JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
             AND a.attnum OPERATOR(pg_catalog.=) k.attnum)
    FROM pg_catalog.pg_index i
    WHERE i.indrelid OPERATOR(pg_catalog.=) $1 AND i.indisunique AND i.indisvalid AND i.indimmediate
      AND i.indpred IS NULL AND i.indexprs IS NULL
    ORDER BY i.indisprimary DESC, i.indexrelid";
