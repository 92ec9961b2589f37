//! Attempts that wait as prepared transactions: their rows are in the target, and invisible until the write is decided
//! (PostgreSQL manual, PREPARE TRANSACTION).
//!
//! A prepared transaction outlives its session, its server and a crash of PostgreSQL, and holds its locks until it is
//! ended. So pgflight must end every one. Its name identifies its write, so that any server can end it as the ledger
//! decides.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::error::{Error, Result};
use crate::pg::ledger::{WriteState, from_bigint};
use crate::pg::session::Session;
use crate::pg::transaction::{Outcome, Transaction};
use arrow_pgcopy::Relation;

/// The prefix of the names of prepared transactions.
const PREFIX: &str = "pgflight:";

/// Returns SQL for the part of a name that identifies the write: a hash, since names must be shorter than write ids.
fn write_key(write_id: &str) -> String {
    format!(
        "pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to({write_id}, 'UTF8')), 'hex'), 32)"
    )
}

/// The name of a prepared transaction. It is built here alone, and safe in a statement without quoting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gid(String);

impl Gid {
    /// Returns a new name for an attempt of a write.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub async fn new(transaction: &Transaction, write_id: &str) -> Result<Self> {
        let statement = format!(
            "SELECT pg_catalog.concat('{PREFIX}', {}, ':', pg_catalog.gen_random_uuid())",
            write_key("$1")
        );
        Ok(Self(
            transaction
                .query_one(&statement, &[&write_id])
                .await?
                .get(0),
        ))
    }

    /// Returns the name as PostgreSQL has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks a name that the catalog or the ledger holds.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) for a name that pgflight did not build.
    pub(super) fn from_catalog(gid: String) -> Result<Self> {
        let is_ours = gid.strip_prefix(PREFIX).is_some_and(|rest| {
            rest.bytes()
                .all(|b| b.is_ascii_hexdigit() || b":-".contains(&b))
        });
        if is_ours {
            Ok(Self(gid))
        } else {
            Err(Error::internal(
                "the name of a prepared transaction was not built by pgflight",
            ))
        }
    }
}

/// Returns the reason that rows cannot get into this table by prepared transactions; `None` when they can.
///
/// With a unique index, a second attempt of a partition would wait for the first one, and the driver, which alone can
/// end the first, waits for the second. Triggers may do what PostgreSQL cannot prepare. Rules and policies apply to
/// INSERT, and not to COPY.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn two_phase_obstacle(
    transaction: &Transaction,
    target: &Relation,
) -> Result<Option<String>> {
    let row = transaction.query_one(OBSTACLE, &[&target.oid]).await?;
    Ok(row.get(0))
}

const OBSTACLE: &str = "
    SELECT CASE
        WHEN pg_catalog.current_setting('max_prepared_transactions') OPERATOR(pg_catalog.=) '0'
            THEN 'max_prepared_transactions is 0'
        WHEN c.relkind OPERATOR(pg_catalog.=) 'v' THEN 'it is a view'
        WHEN c.relkind OPERATOR(pg_catalog.<>) 'r' THEN 'it is partitioned'
        WHEN c.relpersistence OPERATOR(pg_catalog.<>) 'p' THEN 'it is unlogged or temporary, and a crash would empty it'
        WHEN c.relrowsecurity THEN 'row-level security is enabled'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_index i
                     WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND (i.indisunique OR i.indisexclusion))
            THEN 'it has a unique index or an exclusion constraint'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid)
            THEN 'it has triggers or foreign keys'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid)
            THEN 'it has rules'
    END
    FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1";

/// Reserves one of the slots of `max_prepared_transactions` for this transaction. Returns false when all are taken.
///
/// A slot is an advisory lock, which a transaction keeps when it is prepared. So the attempts of all servers on one
/// database never need more slots than there are. Slots that other applications use do not count.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn reserve_slot(transaction: &Transaction) -> Result<bool> {
    let statement = "
        SELECT EXISTS (
            SELECT FROM pg_catalog.generate_series(1,
                pg_catalog.current_setting('max_prepared_transactions')::integer
                OPERATOR(pg_catalog.-) (SELECT pg_catalog.count(*)::integer FROM pg_catalog.pg_prepared_xacts
                   WHERE NOT pg_catalog.starts_with(gid, 'pgflight:')
                      OR owner OPERATOR(pg_catalog.<>) session_user
                      OR database OPERATOR(pg_catalog.<>) pg_catalog.current_database())) slot
            WHERE pg_catalog.pg_try_advisory_xact_lock($1, slot))";
    let row = transaction.query_one(statement, &[&SLOTS]).await?;
    Ok(row.get(0))
}

/// The first key of the advisory locks for slots: `pgfl` in ASCII.
const SLOTS: i32 = 0x7067_666c;

/// Prepares a transaction under this name: the first phase. Its connection returns to the pool.
///
/// Returns [`Outcome::RolledBack`] with [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when all slots
/// for prepared transactions are taken.
pub async fn prepare(transaction: Transaction, gid: &Gid) -> Outcome {
    if let Err(error) = transaction.resume_session_role().await {
        return Outcome::RolledBack(error);
    }
    match transaction
        .end_with(&format!("PREPARE TRANSACTION '{}'", gid.0))
        .await
    {
        Outcome::RolledBack(error) if has_sqlstate(&error, &SqlState::FEATURE_NOT_SUPPORTED) => {
            let unsupported = Error::unsupported("the table runs code that cannot be prepared");
            Outcome::RolledBack(unsupported.with_hint("publish staged").with_source(error))
        }
        // `MarkAsPreparing` in twophase.c: out of memory, with a hint about the setting.
        Outcome::RolledBack(error) if has_sqlstate(&error, &SqlState::OUT_OF_MEMORY) => {
            let unavailable = Error::unavailable("all slots for prepared transactions are taken")
                .with_hint("raise max_prepared_transactions, or publish staged");
            Outcome::RolledBack(unavailable.with_source(error))
        }
        outcome @ (Outcome::Committed | Outcome::RolledBack(_) | Outcome::Unknown(_)) => outcome,
    }
}

/// Counts the prepared transactions with these names that still exist.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn count_prepared(transaction: &Transaction, gids: &[String]) -> Result<usize> {
    let statement = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_xacts
                     WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()
                       AND gid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])";
    let count: i64 = transaction.query_one(statement, &[&gids]).await?.get(0);
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Checks, before the write is decided, that this server's role may end these prepared transactions.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) with the name of the role that may.
pub async fn check_can_end(transaction: &Transaction, gids: &[String]) -> Result<()> {
    let statement = "
        SELECT pg_catalog.min(x.owner::pg_catalog.text)
        FROM pg_catalog.pg_prepared_xacts x, pg_catalog.pg_roles r
        WHERE x.database OPERATOR(pg_catalog.=) pg_catalog.current_database()
          AND x.gid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])
          AND x.owner OPERATOR(pg_catalog.<>) r.rolname
          AND r.rolname OPERATOR(pg_catalog.=) $2::pg_catalog.text AND NOT r.rolsuper";
    let role = transaction.session_role()?.as_str();
    let row = transaction.query_one(statement, &[&gids, &role]).await?;
    let owner: Option<String> = row.get(0);
    match owner {
        None => Ok(()),
        Some(owner) => Err(Error::permission_denied(format!(
            "an attempt was prepared by role {owner:?}, and no other role may end it"
        ))
        .with_hint(
            "commit through a server that logs in as that role, and let all servers of a database log in as the same \
             role",
        )),
    }
}

/// Commits the accepted attempts of a decided write: the second phase. Safe to call concurrently. Returns false when
/// another session is ending one of them, and the call must be repeated.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn commit_prepared(session: &Session, write_id: &str) -> Result<bool> {
    end_all(session, &accepted(write_id), "COMMIT PREPARED").await
}

/// Rolls back the attempts of one write, or of all writes, that no commit will accept: the write has ended, or was
/// decided without them. Returns false when another session is ending one of them, and the call must be repeated.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn roll_back_prepared(session: &Session, write_id: Option<&str>) -> Result<bool> {
    end_all(session, &unwanted(write_id), "ROLLBACK PREPARED").await
}

/// Rolls back an attempt that was prepared and could not be recorded.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn roll_back_one(session: &Session, gid: &Gid) -> Result<()> {
    session
        .execute_all(&format!("ROLLBACK PREPARED '{}'", gid.0))
        .await
}

/// The prepared transactions of pgflight in a database.
#[derive(Debug, Clone, Default)]
pub struct PreparedTransactions {
    /// Their number.
    pub count: u64,
    /// The age of the oldest.
    pub oldest: Duration,
    /// The oldest of them.
    pub longest: Vec<PreparedTransaction>,
}

/// A prepared transaction.
#[derive(Debug, Clone)]
pub struct PreparedTransaction {
    /// Its name in PostgreSQL.
    pub gid: String,
    /// The write that it is an attempt of; empty when the ledger does not know it.
    pub write_id: String,
    /// The state of that write; `None` when the ledger does not know it.
    pub state: Option<WriteState>,
    /// The time of PREPARE by the database's clock, for display.
    pub prepared_at: String,
    /// The time since then.
    pub age: Duration,
}

/// Reads the prepared transactions of pgflight in this database, with the `limit` oldest of them by name.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn prepared_transactions(
    transaction: &Transaction,
    limit: u32,
) -> Result<PreparedTransactions> {
    // Write ids are hashed only where there is a prepared transaction to compare with.
    let rows = transaction
        .query(
            "SELECT p.gid, COALESCE(w.write_id, ''), w.state,
                    pg_catalog.concat((p.prepared AT TIME ZONE 'UTC')::pg_catalog.text, 'Z'),
                    pg_catalog.date_part('epoch',
                                         pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.prepared),
                    p.count
             FROM (SELECT gid, prepared, pg_catalog.count(*) OVER () AS count
                   FROM pg_catalog.pg_prepared_xacts
                   WHERE gid OPERATOR(pg_catalog.~) '^pgflight:[0-9a-f]{32}:[0-9a-f-]{36}$'
                     AND owner OPERATOR(pg_catalog.=) session_user
                     AND database OPERATOR(pg_catalog.=) pg_catalog.current_database()
                   ORDER BY prepared LIMIT $1) p
             LEFT JOIN pgflight.write w
                    ON pg_catalog.split_part(p.gid, ':', 2)
                     OPERATOR(pg_catalog.=) pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(
                           pg_catalog.convert_to(w.write_id, 'UTF8')), 'hex'), 32)
             ORDER BY p.prepared",
            &[&i64::from(limit)],
        )
        .await?;
    let age = |row: &Row| Duration::try_from_secs_f64(row.get(4)).unwrap_or_default();
    let longest = rows.iter().map(|row| {
        Ok(PreparedTransaction {
            gid: row.get(0),
            write_id: row.get(1),
            state: row
                .get::<_, Option<&str>>(2)
                .map(WriteState::parse)
                .transpose()?,
            prepared_at: row.get(3),
            age: age(row),
        })
    });
    Ok(PreparedTransactions {
        count: rows.first().map_or(0, |row| from_bigint(row.get(5))),
        oldest: rows.first().map_or(Duration::ZERO, age),
        longest: longest.collect::<Result<_>>()?,
    })
}

/// Returns SQL for a text in a statement without parameters, which means the same under every setting for strings.
fn text(value: &str) -> String {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("pg_catalog.convert_from(pg_catalog.decode('{hex}', 'hex'), 'UTF8')")
}

/// Returns the SELECT of the accepted attempts that are still prepared. Once an attempt is committed, any role may give
/// its name to a transaction of its own, so the transaction's id decides.
fn accepted(write_id: &str) -> String {
    format!(
        "SELECT p.gid
         FROM pgflight.write w
         JOIN pgflight.attempt a ON a.write_id OPERATOR(pg_catalog.=) w.write_id AND a.accepted
         JOIN pg_catalog.pg_prepared_xacts p ON p.gid OPERATOR(pg_catalog.=) a.gid
          AND COALESCE(p.transaction OPERATOR(pg_catalog.=) a.prepared_xact_id::pg_catalog.xid, true)
          AND p.database OPERATOR(pg_catalog.=) pg_catalog.current_database()
         WHERE w.write_id OPERATOR(pg_catalog.=) {} AND w.state OPERATOR(pg_catalog.=) 'committing'",
        text(write_id)
    )
}

/// Returns the SELECT of attempts that will not be accepted. Those of another role are left to servers that log in as
/// it; a superuser may end all.
fn unwanted(write_id: Option<&str>) -> String {
    let of_write = match write_id {
        Some(write_id) => format!("AND w.write_id OPERATOR(pg_catalog.=) {}", text(write_id)),
        None => String::new(),
    };
    format!(
        "SELECT p.gid
         FROM pg_catalog.pg_roles r
         JOIN pg_catalog.pg_prepared_xacts p ON p.owner OPERATOR(pg_catalog.=) r.rolname OR r.rolsuper
         LEFT JOIN pgflight.write w ON pg_catalog.split_part(p.gid, ':', 2) OPERATOR(pg_catalog.=) {}
         LEFT JOIN pgflight.attempt a ON a.write_id OPERATOR(pg_catalog.=) w.write_id
          AND a.gid OPERATOR(pg_catalog.=) p.gid
         WHERE r.rolname OPERATOR(pg_catalog.=) pg_catalog.current_setting('pgflight.session_role')
           AND p.gid OPERATOR(pg_catalog.~) '^pgflight:[0-9a-f]{{32}}:[0-9a-f-]{{36}}$'
           AND p.database OPERATOR(pg_catalog.=) pg_catalog.current_database() {of_write}
           AND CASE WHEN w.state OPERATOR(pg_catalog.=) 'open' THEN false
                    WHEN w.state OPERATOR(pg_catalog.=) 'committing' THEN a.accepted IS NOT TRUE
                    ELSE true END",
        write_key("w.write_id")
    )
}

/// Selects names and ends each, in one session: after a failover, another session may be on another server.
async fn end_all(session: &Session, select: &str, how: &str) -> Result<bool> {
    let mut all = true;
    for name in session.names(select).await? {
        let gid = Gid::from_catalog(name)?;
        match session.execute_all(&format!("{how} '{}'", gid.0)).await {
            Ok(()) => {}
            // Another server has ended it.
            Err(error) if has_sqlstate(&error, &SqlState::UNDEFINED_OBJECT) => {}
            Err(error) if has_sqlstate(&error, &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => {
                all = false;
            }
            // Another server has ended it, and another role has taken its name since. The next try leaves that out.
            Err(error) if has_sqlstate(&error, &SqlState::INSUFFICIENT_PRIVILEGE) => {
                all = false;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn has_sqlstate(error: &Error, state: &SqlState) -> bool {
    error.context().sqlstate.as_deref() == Some(state.code())
}
