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
const WRITE_KEY: &str = "pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to($1, 'UTF8')), 'hex'), 32)";

/// The name of a prepared transaction: made here alone, and safe in a statement as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gid(String);

impl Gid {
    /// A new name for an attempt of a write.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub async fn new(transaction: &Transaction, write_id: &str) -> Result<Self> {
        let statement =
            format!("SELECT '{PREFIX}' || {WRITE_KEY} || ':' || pg_catalog.gen_random_uuid()");
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
        WHEN pg_catalog.current_setting('max_prepared_transactions') = '0'
            THEN 'max_prepared_transactions is 0'
        WHEN c.relkind = 'v' THEN 'it is a view'
        WHEN c.relkind <> 'r' THEN 'it is partitioned'
        WHEN c.relpersistence <> 'p' THEN 'it is unlogged or temporary, and a crash would empty it'
        WHEN c.relrowsecurity THEN 'row-level security is enabled'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_index i
                     WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion))
            THEN 'it has a unique index or an exclusion constraint'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid)
            THEN 'it has triggers or foreign keys'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid)
            THEN 'it has rules'
    END
    FROM pg_catalog.pg_class c WHERE c.oid = $1";

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
                - (SELECT pg_catalog.count(*)::integer FROM pg_catalog.pg_prepared_xacts
                   WHERE gid NOT LIKE 'pgflight:%' OR database <> pg_catalog.current_database())) place
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
                     WHERE database = pg_catalog.current_database() AND gid = ANY($1::text[])";
    let count: i64 = transaction.query_one(statement, &[&gids]).await?.get(0);
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Checks, before anything is decided, that this server's role may end these prepared transactions.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) with the role that may.
pub async fn check_can_end(transaction: &Transaction, gids: &[String]) -> Result<()> {
    let statement = "
        SELECT pg_catalog.min(owner::text) FROM pg_catalog.pg_prepared_xacts
        WHERE database = pg_catalog.current_database() AND gid = ANY($1::text[])
          AND owner <> current_user AND pg_catalog.current_setting('is_superuser') <> 'on'";
    let owner: Option<String> = transaction.query_one(statement, &[&gids]).await?.get(0);
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
    end_all(session, ACCEPTED, Some(write_id), "COMMIT PREPARED").await
}

/// Rolls back what nobody will accept: attempts of writes that have ended, or were decided without them.
/// Of one write, or of all. False as of [`commit_prepared`].
///
/// # Errors
/// What PostgreSQL said.
pub async fn roll_back_prepared(session: &Session, write_id: Option<&str>) -> Result<bool> {
    end_all(session, UNWANTED, write_id, "ROLLBACK PREPARED").await
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
            "SELECT p.gid, COALESCE(w.write_id, ''), w.state, (p.prepared AT TIME ZONE 'UTC')::text || 'Z',
                    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - p.prepared),
                    p.count
             FROM (SELECT gid, prepared, pg_catalog.count(*) OVER () AS count
                   FROM pg_catalog.pg_prepared_xacts
                   WHERE gid ~ '^pgflight:[0-9a-f]{32}:[0-9a-f-]{36}$' AND database = pg_catalog.current_database()
                   ORDER BY prepared LIMIT $1) p
             LEFT JOIN pgflight.write w
                    ON pg_catalog.split_part(p.gid, ':', 2)
                     = pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(
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

const ACCEPTED: &str = "
    SELECT p.gid
    FROM pgflight.write w
    JOIN pgflight.attempt a ON a.write_id = w.write_id AND a.accepted
    JOIN pg_catalog.pg_prepared_xacts p ON p.gid = a.gid AND p.database = pg_catalog.current_database()
    WHERE w.write_id = $1 AND w.state = 'committing'";

const UNWANTED: &str = "
    SELECT p.gid
    FROM pg_catalog.pg_prepared_xacts p
    LEFT JOIN pgflight.write w
           ON pg_catalog.split_part(p.gid, ':', 2)
            = pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(
                  pg_catalog.convert_to(w.write_id, 'UTF8')), 'hex'), 32)
    LEFT JOIN pgflight.attempt a ON a.write_id = w.write_id AND a.gid = p.gid
    WHERE p.gid ~ '^pgflight:[0-9a-f]{32}:[0-9a-f-]{36}$' AND p.database = pg_catalog.current_database()
      -- Those of another role are for servers that log in as it.
      AND (p.owner = current_user OR pg_catalog.current_setting('is_superuser') = 'on')
      AND ($1::text IS NULL OR w.write_id = $1)
      AND CASE w.state WHEN 'open' THEN false
                       WHEN 'committing' THEN a.accepted IS NOT TRUE
                       ELSE true END";

/// Asks for names and ends each, in one session: after a failover the answer may be another server's.
async fn end_all(
    session: &Session,
    select: &str,
    write_id: Option<&str>,
    how: &str,
) -> Result<bool> {
    let mut all = true;
    for row in session.query(select, &[&write_id]).await? {
        let gid = Gid::from_catalog(row.get(0))?;
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
