//! Attempts that wait as prepared transactions: their rows are in the target already, seen by nobody
//! until the write is decided (PostgreSQL manual, PREPARE TRANSACTION).
//!
//! A prepared transaction outlives its session, its server and a crash of PostgreSQL, and holds its locks
//! all the while: none may be forgotten. Each has a name that says which write it belongs to, so that any
//! server can end it as the ledger says.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::ledger::{WriteState, from_bigint};
use super::pool::Session;
use super::transaction::{Outcome, Transaction};
use crate::error::{Error, Result};
use crate::plan::Relation;

/// What the names of prepared transactions begin with.
const PREFIX: &str = "pgflight:";

/// The part of the name that says which write it is: names are shorter than write ids may be.
fn write_key(write_id: &str) -> String {
    format!(
        "pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to({write_id}, 'UTF8')), 'hex'), 32)"
    )
}

/// The name of a prepared transaction: made here alone, and safe in a statement as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gid(String);

impl Gid {
    /// A new name for an attempt of a write.
    ///
    /// # Errors
    /// What PostgreSQL said.
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

    /// The name as PostgreSQL has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that the catalog or the ledger holds.
    pub(super) fn from_catalog(gid: String) -> Result<Self> {
        let is_ours = gid.strip_prefix(PREFIX).is_some_and(|rest| {
            rest.bytes()
                .all(|b| b.is_ascii_hexdigit() || b":-".contains(&b))
        });
        match is_ours {
            true => Ok(Self(gid)),
            false => Err(Error::internal(
                "a prepared transaction has a name that is not ours",
            )),
        }
    }
}

/// Why rows cannot go into this table by way of prepared transactions; `None` when they can.
///
/// A unique index would make a second attempt of a partition wait for the first one, which only the
/// driver can decide, who waits for the second. Triggers may do what cannot be prepared, and rules and
/// policies hold for INSERT alone, which staged rows go through.
///
/// # Errors
/// What PostgreSQL said.
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

/// Reserves one of the places for prepared transactions for this transaction; false when all are taken.
///
/// A place is an advisory lock, which a transaction keeps when it is prepared. So the attempts of all
/// servers on one database never want more places than there are; what prepared transactions of others
/// take is left out.
///
/// # Errors
/// What PostgreSQL said.
pub async fn reserve_place(transaction: &Transaction) -> Result<bool> {
    let statement = "
        SELECT EXISTS (
            SELECT FROM pg_catalog.generate_series(1,
                pg_catalog.current_setting('max_prepared_transactions')::integer
                OPERATOR(pg_catalog.-) (SELECT pg_catalog.count(*)::integer FROM pg_catalog.pg_prepared_xacts
                   WHERE NOT pg_catalog.starts_with(gid, 'pgflight:')
                      OR owner OPERATOR(pg_catalog.<>) session_user
                      OR database OPERATOR(pg_catalog.<>) pg_catalog.current_database())) place
            WHERE pg_catalog.pg_try_advisory_xact_lock($1, place))";
    let row = transaction.query_one(statement, &[&PLACES]).await?;
    Ok(row.get(0))
}

/// The first key of the advisory locks that are places: `pgfl` in ASCII.
const PLACES: i32 = 0x7067_666c;

/// The first phase: the transaction is kept by PostgreSQL under this name. Its connection is free again.
///
/// [`Outcome::RolledBack`] with [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when all
/// places for prepared transactions are taken.
pub async fn prepare(transaction: Transaction, gid: &Gid) -> Outcome {
    if let Err(error) = transaction.resume_session_role().await {
        return Outcome::RolledBack(error);
    }
    match transaction
        .end_with(&format!("PREPARE TRANSACTION '{}'", gid.0))
        .await
    {
        Outcome::RolledBack(error) if has_sqlstate(&error, &SqlState::FEATURE_NOT_SUPPORTED) => {
            let message = format!("{error}; the table does what cannot be prepared: publish staged");
            Outcome::RolledBack(Error::unsupported(message).with_source(error))
        }
        // `MarkAsPreparing` in twophase.c: out of memory, with a hint about the setting.
        Outcome::RolledBack(error) if has_sqlstate(&error, &SqlState::OUT_OF_MEMORY) => Outcome::RolledBack(
            Error::unavailable(
                "all places for prepared transactions are taken; raise max_prepared_transactions, or publish \
                 staged",
            )
            .with_source(error),
        ),
        outcome @ (Outcome::Committed | Outcome::RolledBack(_) | Outcome::Unknown(_)) => outcome,
    }
}

/// How many of these prepared transactions are there.
///
/// # Errors
/// What PostgreSQL said.
pub async fn count_prepared(transaction: &Transaction, gids: &[String]) -> Result<usize> {
    let statement = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_xacts
                     WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()
                       AND gid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])";
    let count: i64 = transaction.query_one(statement, &[&gids]).await?.get(0);
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Checks, before anything is decided, that this server's role may end these prepared transactions.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) with the role that may.
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
            "an attempt of the write was prepared by role {owner:?}, which alone may end it: let all servers of a \
             database log in as the same role; nothing was decided, commit through a server of that role"
        ))),
    }
}

/// The second phase of a write that is decided: commits what was accepted. Safe to call by many at once;
/// false when another session is busy with one of them, and the call must be made again.
///
/// # Errors
/// What PostgreSQL said.
pub async fn commit_prepared(session: &Session, write_id: &str) -> Result<bool> {
    end_all(session, &accepted(write_id), "COMMIT PREPARED").await
}

/// Rolls back what nobody will accept: attempts of writes that have ended, or were decided without them.
/// Of one write, or of all. False as of [`commit_prepared`].
///
/// # Errors
/// What PostgreSQL said.
pub async fn roll_back_prepared(session: &Session, write_id: Option<&str>) -> Result<bool> {
    end_all(session, &unwanted(write_id), "ROLLBACK PREPARED").await
}

/// Rolls back one that was prepared and could not be recorded.
///
/// # Errors
/// What PostgreSQL said.
pub async fn roll_back_one(session: &Session, gid: &Gid) -> Result<()> {
    session
        .execute_all(&format!("ROLLBACK PREPARED '{}'", gid.0))
        .await
}

/// Prepared transactions of pgflight in this database, and the one that is oldest.
#[derive(Debug, Clone, Default)]
pub struct PreparedTransactions {
    /// How many there are.
    pub count: u64,
    /// How long the oldest has waited.
    pub oldest: Duration,
    /// Those that have waited longest.
    pub longest: Vec<PreparedTransaction>,
}

/// A transaction that is prepared.
#[derive(Debug, Clone)]
pub struct PreparedTransaction {
    /// Its name in PostgreSQL.
    pub gid: String,
    /// The write that it is an attempt of; empty when the ledger knows none.
    pub write_id: String,
    /// Where that write stands; none when the ledger knows none.
    pub state: Option<WriteState>,
    /// When it was prepared, by the database's clock, for people.
    pub prepared_at: String,
    /// How long ago that was.
    pub age: Duration,
}

/// What is prepared in this database, with at most `limit` of them by name, oldest first.
///
/// # Errors
/// What PostgreSQL said.
pub async fn prepared_transactions(
    transaction: &Transaction,
    limit: u32,
) -> Result<PreparedTransactions> {
    // Ids of writes are compared only where there is something to compare with.
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

/// A text in a statement without parameters: safe however PostgreSQL reads strings.
fn text(value: &str) -> String {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("pg_catalog.convert_from(pg_catalog.decode('{hex}', 'hex'), 'UTF8')")
}

fn accepted(write_id: &str) -> String {
    format!(
        "SELECT p.gid
         FROM pgflight.write w
         JOIN pgflight.attempt a ON a.write_id OPERATOR(pg_catalog.=) w.write_id AND a.accepted
         JOIN pg_catalog.pg_prepared_xacts p ON p.gid OPERATOR(pg_catalog.=) a.gid
          AND p.database OPERATOR(pg_catalog.=) pg_catalog.current_database()
         WHERE w.write_id OPERATOR(pg_catalog.=) {} AND w.state OPERATOR(pg_catalog.=) 'committing'",
        text(write_id)
    )
}

/// Those of another role are for servers that log in as it; a superuser may end them all.
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

/// Asks for names and ends each, in one session: after a failover the answer may be another server's.
async fn end_all(session: &Session, select: &str, how: &str) -> Result<bool> {
    let mut all = true;
    for name in session.names(select).await? {
        let gid = Gid::from_catalog(name)?;
        match session.execute_all(&format!("{how} '{}'", gid.0)).await {
            Ok(()) => {}
            // Another server was faster.
            Err(error) if has_sqlstate(&error, &SqlState::UNDEFINED_OBJECT) => {}
            Err(error) if has_sqlstate(&error, &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => {
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
