//! Checks a database for problems, in plain words, with the SQL that fixes them.

use crate::error::{Error, Result};
use crate::pg::{
    LedgerFacts, LedgerVersion, Pooler, ServerFacts, Table, Transaction, check_swappable,
    find_pooler, find_table, server_facts, side_effects, two_phase_obstacle, unique_keys,
};
use crate::write::writer::Writer;
use arrow_pgcopy::table::TableName;

/// The oldest PostgreSQL that is supported, as `server_version_num`.
const OLDEST_VERSION: i32 = 130_000;
/// The newest major version that the tests run on.
const NEWEST_MAJOR: i32 = 18;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Good,
    /// It works; an operator should know about it.
    Warning,
    /// It will not work.
    Bad,
}

/// One result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its severity.
    pub verdict: Verdict,
    /// The observation.
    pub text: String,
    /// SQL statements that fix it.
    pub fix_sql: Vec<String>,
}

/// The demands of a server on a database.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Largest number of connections of one server.
    pub connections: usize,
    /// `sslmode`, if it was set.
    pub tls_mode: Option<String>,
}

impl Finding {
    fn new(verdict: Verdict, text: impl Into<String>) -> Self {
        Self {
            verdict,
            text: text.into(),
            fix_sql: Vec::new(),
        }
    }

    fn fixed_by(mut self, statement: impl Into<String>) -> Self {
        self.fix_sql.push(statement.into());
        self
    }

    /// Returns the finding for an error that `what` would get. Its hint is left out when SQL fixes it.
    fn of(verdict: Verdict, what: &str, error: &Error) -> Self {
        let text = match (error.fix_sql(), error.hint()) {
            ([], Some(hint)) => format!("{what}: {error}; {hint}"),
            _ => format!("{what}: {error}"),
        };
        Self {
            fix_sql: error.fix_sql().to_vec(),
            ..Self::new(verdict, text)
        }
    }
}

impl Writer {
    /// Checks the database for the needs of a server.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports when it is asked.
    pub async fn check_database(&self, expected: &Expected) -> Result<Vec<Finding>> {
        let transaction = self.pool.begin_read().await?;
        let facts = server_facts(&transaction).await?;
        transaction.rollback().await;
        let pooler = find_pooler(&self.pool).await?;
        let link = match pooler {
            Some(_) => tls_behind(&facts, expected),
            None => tls(&facts, expected),
        };
        let findings = [
            Some(version(facts.version_number, &facts.version)),
            read_only(&facts),
            pooler.map(|pooler| behind(pooler, expected)),
            Some(link),
            Some(ledger(&facts)),
            temporary(&facts),
            Some(connections(&facts, expected)),
            Some(prepared(&facts)),
            timeouts(&facts),
            encoding(&facts),
        ];
        Ok(findings.into_iter().flatten().collect())
    }

    /// Checks a table for the needs of each mode.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports when it is asked.
    pub async fn check_table(&self, table: &TableName) -> Result<Vec<Finding>> {
        let transaction = self.pool.begin_read().await?;
        let findings = match find_table(&transaction, table, |_| true).await {
            Ok(Some(table)) => modes(&transaction, &table).await,
            Ok(None) => {
                let error = crate::write::plan::permission::missing_table(
                    &transaction,
                    &self.caller,
                    table,
                )
                .await?;
                Ok(vec![Finding::of(Verdict::Bad, &table.to_string(), &error)])
            }
            Err(error) => Ok(vec![Finding::of(Verdict::Bad, &table.to_string(), &error)]),
        };
        transaction.rollback().await;
        findings
    }
}

/// Checks the version, given as `server_version_num` and as the text of it.
fn version(number: i32, text: &str) -> Finding {
    if number < OLDEST_VERSION {
        let text = format!("PostgreSQL {text} is too old: 13 is the oldest that is served");
        return Finding::new(Verdict::Bad, text);
    }
    if number / 10_000 > NEWEST_MAJOR {
        let text = format!(
            "PostgreSQL {text} is newer than any version that this pgflight was tried with: {NEWEST_MAJOR} is the \
             newest; try it before you rely on it, or update pgflight"
        );
        return Finding::new(Verdict::Warning, text);
    }
    Finding::new(Verdict::Good, format!("PostgreSQL {text}"))
}

/// Returns the finding about a pooler: its needs, which a client of it cannot see.
fn behind(pooler: Pooler, expected: &Expected) -> Finding {
    let needed = expected.connections;
    let text = match pooler {
        Pooler::Session => format!(
            "a pooler is between pgflight and PostgreSQL, in session mode: its pool needs {needed} connections of \
             PostgreSQL for every server (pgbouncer: pool_size); where they run out, streams and commits fail, \
             and are retryable"
        ),
        Pooler::Transaction => format!(
            "a pooler is between pgflight and PostgreSQL, in transaction mode: its pool needs {needed} connections \
             of PostgreSQL for every server (pgbouncer: pool_size), or streams and commits wait there, fail, and are \
             retryable; its query_timeout and idle_transaction_timeout must be 0, or longer than the longest \
             stream"
        ),
    };
    Finding::new(Verdict::Warning, text)
}

/// Returns the finding about TLS behind a pooler. PostgreSQL knows the connection of the pooler to it, but not the one
/// from here to the pooler.
fn tls_behind(facts: &ServerFacts, expected: &Expected) -> Finding {
    let mode = expected.tls_mode.as_deref().unwrap_or("prefer");
    let beyond = facts.tls.as_deref().unwrap_or("no TLS");
    let text = format!(
        "from here to the pooler TLS is as sslmode says ({mode}); from the pooler to PostgreSQL: {beyond}"
    );
    match facts.tls.is_some() || facts.is_local {
        true => Finding::new(Verdict::Good, text),
        false => Finding::new(Verdict::Warning, text),
    }
}

fn read_only(facts: &ServerFacts) -> Option<Finding> {
    let ServerFacts {
        login, database, ..
    } = facts;
    let source = facts.read_only_by.as_deref()?;
    let statement = match source {
        "database" => format!("ALTER DATABASE {database} RESET default_transaction_read_only;"),
        "user" => format!("ALTER ROLE {login} RESET default_transaction_read_only;"),
        "database user" => format!(
            "ALTER ROLE {login} IN DATABASE {database} RESET default_transaction_read_only;"
        ),
        _ => {
            "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf();".to_owned()
        }
    };
    let text = format!(
        "default_transaction_read_only is on (it comes from: {source}): every write is refused, and may be tried \
         again, until it is off"
    );
    Some(Finding::new(Verdict::Bad, text).fixed_by(statement))
}

fn tls(facts: &ServerFacts, expected: &Expected) -> Finding {
    let mode = expected.tls_mode.as_deref().unwrap_or("prefer");
    match &facts.tls {
        Some(version) if mode == "verify-full" => Finding::new(
            Verdict::Good,
            format!("{version}, and PostgreSQL has shown who it is (sslmode={mode})"),
        ),
        Some(version) => Finding::new(
            Verdict::Warning,
            format!(
                "{version}, but whether this is the right PostgreSQL was not looked at in full \
                 (sslmode={mode}); sslmode=verify-full with sslrootcert does"
            ),
        ),
        None if facts.is_local => Finding::new(
            Verdict::Good,
            "no TLS, and the connection stays on this machine",
        ),
        None => Finding::new(
            Verdict::Warning,
            format!(
                "no TLS (sslmode={mode}): anyone on the network path can read the rows; turn PostgreSQL's setting \
                 ssl on and use sslmode=verify-full with sslrootcert"
            ),
        ),
    }
}

fn ledger(facts: &ServerFacts) -> Finding {
    let (role, ours) = (&facts.role, LedgerVersion::OURS);
    match &facts.ledger {
        LedgerFacts::Good => Finding::new(Verdict::Good, "the ledger (schema pgflight) is there"),
        LedgerFacts::Missing { may_make: true } => Finding::new(
            Verdict::Good,
            "the ledger (schema pgflight) is created when it is first needed, or by `pgflight migrate`",
        ),
        LedgerFacts::Missing { may_make: false } => Finding::new(
            Verdict::Bad,
            format!("there is no ledger (schema pgflight), and {role} may not make it: no write of many \
                 partitions can begin"),
        )
        .fixed_by(format!("CREATE SCHEMA pgflight AUTHORIZATION {role};")),
        LedgerFacts::Old { version, may_change: true } => Finding::new(
            Verdict::Warning,
            format!("the ledger (schema pgflight) is of version {version}, and this pgflight needs {ours}: it is \
                 brought up to date when a server starts or first writes, or now by `pgflight migrate`"),
        ),
        LedgerFacts::Old { version, may_change: false } => Finding::new(
            Verdict::Bad,
            format!("the ledger (schema pgflight) is of version {version}, this pgflight needs {ours}, and \
                 {role} does not own it: let its owner run what `pgflight migrate --print` prints"),
        ),
        LedgerFacts::Newer { version } => Finding::new(
            Verdict::Warning,
            format!("the ledger (schema pgflight) is of version {version}, newer than this pgflight, which makes \
                 {ours}: it works, except on writes of a newer server that this one does not understand"),
        ),
        LedgerFacts::Lacking(rights) => {
            let text = format!(
                "{role} may not do all that it must in the ledger (schema pgflight): no write of many \
                 partitions works"
            );
            let grants = rights.iter().map(|right| format!("GRANT {right} TO {role};"));
            Finding {
                fix_sql: grants.collect(),
                ..Finding::new(Verdict::Bad, text)
            }
        }
    }
}

fn temporary(facts: &ServerFacts) -> Option<Finding> {
    let ServerFacts { role, database, .. } = facts;
    (!facts.may_make_temporary).then(|| {
        Finding::new(
            Verdict::Warning,
            format!(
                "{role} may not make temporary tables: writes of one stream fail in keyed modes, and where \
                 rows must be inserted or cast"
            ),
        )
        .fixed_by(format!("GRANT TEMPORARY ON DATABASE {database} TO {role};"))
    })
}

fn connections(facts: &ServerFacts, expected: &Expected) -> Finding {
    let needed = i64::try_from(expected.connections).unwrap_or(i64::MAX);
    let (most, used) = (facts.max_connections, facts.connections_in_use);
    let usage = format!(
        "a server takes up to {needed} connections; {} allows {most}, of which {used} are in use",
        facts.connections_limited_by
    );
    if needed > most {
        let statement = match facts.connections_limited_by.as_str() {
            "max_connections" => format!(
                "ALTER SYSTEM SET max_connections = {}; -- and restart PostgreSQL",
                needed + 100
            ),
            "the connection limit of the database" => {
                format!(
                    "ALTER DATABASE {} CONNECTION LIMIT {needed};",
                    facts.database
                )
            }
            _ => format!("ALTER ROLE {} CONNECTION LIMIT {needed};", facts.login),
        };
        let text = format!("{usage}: copies would fail; lower max_copies, or raise the limit");
        return Finding::new(Verdict::Bad, text).fixed_by(statement);
    }
    if needed > most - used {
        let text = format!("{usage}: there may be too few, and every replica takes as many");
        return Finding::new(Verdict::Warning, text);
    }
    Finding::new(
        Verdict::Good,
        format!("{usage}; every replica takes as many"),
    )
}

fn prepared(facts: &ServerFacts) -> Finding {
    match facts.max_prepared_transactions {
        0 => Finding::new(
            Verdict::Warning,
            "max_prepared_transactions is 0: appends of many partitions go through a staging table, and \
             each row is written twice",
        )
        .fixed_by("ALTER SYSTEM SET max_prepared_transactions = 64; -- and restart PostgreSQL"),
        count => Finding::new(
            Verdict::Good,
            format!(
                "max_prepared_transactions is {count}: up to {count} partitions of appends wait in the table \
                 itself, and the others in a staging table"
            ),
        ),
    }
}

fn timeouts(facts: &ServerFacts) -> Option<Finding> {
    let timeouts = &facts.timeouts;
    if timeouts.is_empty() {
        return None;
    }
    let text = format!(
        "{}: a COPY that takes longer is ended, and its task fails",
        timeouts.join(", ")
    );
    let names = timeouts
        .iter()
        .filter_map(|setting| setting.split_once(" = "));
    let resets = names.map(|(name, _)| format!("ALTER ROLE {} SET {name} = 0;", facts.login));
    Some(Finding {
        fix_sql: resets.collect(),
        ..Finding::new(Verdict::Warning, text)
    })
}

fn encoding(facts: &ServerFacts) -> Option<Finding> {
    let encoding = &facts.encoding;
    (encoding != "UTF8").then(|| {
        let text =
            format!("the database has encoding {encoding}: text that it cannot hold is rejected");
        Finding::new(Verdict::Warning, text)
    })
}

/// Returns the finding of each mode. It is bad only when it affects every mode.
async fn modes(transaction: &Transaction, table: &Table) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let relation = &table.relation;
    let may = |what: &str, privileges: &[&str]| {
        table
            .check_privileges(privileges)
            .map(|()| Finding::new(Verdict::Good, format!("{what}: may be written")))
    };
    match may("append", &["INSERT"]) {
        Ok(finding) => findings.push(finding),
        Err(error) => return Ok(vec![Finding::of(Verdict::Bad, "no mode", &error)]),
    }
    if let Some(obstacle) = &table.copy_obstacle {
        let text = format!(
            "append: PostgreSQL takes no COPY here ({obstacle}), so rows are inserted from \
             a staging table"
        );
        findings.push(Finding::new(Verdict::Warning, text));
    } else if let Some(obstacle) = two_phase_obstacle(transaction, relation).await? {
        let text = format!(
            "append of many partitions: through a staging table, since {obstacle}; each row \
             is written twice"
        );
        findings.push(Finding::new(Verdict::Warning, text));
    } else {
        let text = "append of many partitions: partitions wait in the table itself, as prepared transactions";
        findings.push(Finding::new(Verdict::Good, text));
    }
    for (what, rights) in [
        ("overwrite with truncate", &["INSERT", "TRUNCATE"][..]),
        ("overwrite with delete", &["INSERT", "DELETE"]),
        ("update_only", &["SELECT", "UPDATE"]),
        ("delete_by_key", &["SELECT", "DELETE"]),
    ] {
        let found = may(what, rights);
        findings.push(found.unwrap_or_else(|error| Finding::of(Verdict::Warning, what, &error)));
    }
    findings.push(match check_swappable(transaction, table).await {
        Ok(()) => Finding::new(Verdict::Good, "overwrite with swap: possible"),
        Err(error) => Finding::of(Verdict::Warning, "overwrite with swap", &error),
    });
    let upsert = may("upsert", &["SELECT", "INSERT", "UPDATE"]);
    findings.push(
        match (upsert, unique_keys(transaction, relation.oid).await?) {
            (Err(error), _) => Finding::of(Verdict::Warning, "upsert and insert_if_absent", &error),
            (Ok(_), keys) if keys.is_empty() => {
                let text = "upsert and insert_if_absent: there is no unique index to find rows by";
                let table = &relation.name;
                Finding::new(Verdict::Warning, text).fixed_by(format!(
                    "CREATE UNIQUE INDEX ON {table} (<columns of the key>);"
                ))
            }
            (Ok(_), keys) => {
                let text = format!(
                    "upsert and insert_if_absent: by the keys ({})",
                    keys.join("), (")
                );
                Finding::new(Verdict::Good, text)
            }
        },
    );
    if let Err(error) = table.check_owned("add columns") {
        let what = "schema_evolution add_columns";
        findings.push(Finding::of(Verdict::Warning, what, &error));
    }
    let effects = side_effects(transaction, relation).await?;
    findings.extend(
        effects
            .into_iter()
            .map(|text| Finding::new(Verdict::Warning, text)),
    );
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::{Verdict, version};

    #[test]
    fn versions_that_were_not_tried_are_named() {
        for (number, text, verdict) in [
            (120_022, "12.22", Verdict::Bad),
            (130_000, "13.0", Verdict::Good),
            (180_004, "18.4", Verdict::Good),
            (190_000, "19beta1", Verdict::Warning),
        ] {
            let finding = version(number, text);
            assert_eq!(finding.verdict, verdict, "{text}");
            assert!(finding.text.contains(text), "{}", finding.text);
        }
    }
}
