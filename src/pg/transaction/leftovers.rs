//! What the code of a table, or another client of a pooler, left in a session.
//!
//! Behind a pooler in transaction mode, a session serves many clients. A client, or the code of a table, may have set a
//! setting for the session: one that changes how durable a commit is, what rows mean, which tables code finds, or
//! whether PostgreSQL takes writes. Advisory locks and LISTEN are left to the pooler.

use uuid::Uuid;

/// Resets the settings of a session, also those of extensions that are not loaded yet. A pooler keeps the encoding equal
/// for its client, which is this server.
const RESET_SETTINGS: &str = "RESET ALL; SET client_encoding = 'UTF8'; ";

/// Drops what was left in a session beside settings. A table may be locked by another session.
const RESET_OBJECTS: &str = "SET LOCAL lock_timeout = 2000; CLOSE ALL; DISCARD TEMP; ";

/// Returns the statements before the BEGIN of a transaction in a session of a pooler. They are a transaction of their own,
/// because BEGIN reads settings, and an extension that is loaded takes the settings of before the transaction. A pooler
/// gives all statements of one message to the same session.
pub(super) fn before_begin() -> String {
    format!("BEGIN; {RESET_SETTINGS}{RESET_OBJECTS}COMMIT; ")
}

/// Returns the statements that reset the session within a transaction. The settings of the transaction follow.
pub(super) fn within() -> String {
    format!("{RESET_SETTINGS}{RESET_OBJECTS}SELECT {}; ", reseed())
}

/// Returns a call that makes `random()` unpredictable again. No statement resets what `setseed()` has set.
pub(super) fn reseed() -> String {
    // 64 random bits, mapped to -1 up to 1.
    let (bits, _) = Uuid::new_v4().as_u64_pair();
    #[expect(clippy::cast_precision_loss, reason = "a seed has 53 bits")]
    let seed = bits as f64 / u64::MAX as f64 * 2.0 - 1.0;
    format!("pg_catalog.setseed({seed}::pg_catalog.float8)")
}
