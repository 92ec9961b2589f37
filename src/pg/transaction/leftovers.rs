//! What other clients of a pooler left in a session.
//!
//! Behind a pooler in transaction mode, a session serves many clients. A client, or the code of a table, may have set a
//! setting for the session: one that changes how durable a commit is, what rows mean, which tables code finds, or
//! whether PostgreSQL takes writes. So each transaction asks for such settings when it begins, and resets them. Settings
//! that an application invents, advisory locks and LISTEN are left to the pooler.

use crate::error::Result;
use arrow_pgcopy::Ident;

/// The setting that the BEGIN of the next transaction reads.
const READ_ONLY: &str = "default_transaction_read_only";

/// Returns SQL for the names of the settings that differ from those with which the session began, separated by commas;
/// NULL if there is none. It excludes settings of the transaction itself, those that its first statements have set,
/// those that a pooler keeps equal for its client, and those that only a superuser may reset.
pub(super) fn query() -> String {
    let own = "'{search_path,client_encoding,application_name}'::pg_catalog.text[]";
    format!(
        "(SELECT pg_catalog.string_agg(s.name, ',') FROM pg_catalog.pg_settings AS s \
          WHERE s.source OPERATOR(pg_catalog.=) 'session' \
          AND pg_catalog.concat(s.setting) OPERATOR(pg_catalog.<>) pg_catalog.concat(s.reset_val) \
          AND NOT pg_catalog.starts_with(s.name, 'transaction_') AND s.name OPERATOR(pg_catalog.<>) ALL ({own}) \
          AND (s.context OPERATOR(pg_catalog.=) 'user' \
               OR pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on'))"
    )
}

/// Settings that were left in a session.
#[derive(Debug)]
pub(super) struct Leftovers(Vec<Ident>);

impl Leftovers {
    /// Reads the answer to [`query`]. Returns `None` if nothing was left.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) for names that no setting has.
    pub(super) fn read(names: Option<&str>) -> Result<Option<Self>> {
        let Some(names) = names else { return Ok(None) };
        let names: std::result::Result<_, _> = names.split(',').map(Ident::new).collect();
        Ok(Some(Self(names?)))
    }

    /// Returns whether the session begins read-only transactions because of them.
    pub(super) fn forbid_writes(&self) -> bool {
        self.0.iter().any(|name| name.as_str() == READ_ONLY)
    }

    /// Returns the statements that reset them for the session.
    pub(super) fn reset(&self) -> String {
        let reset = |name: &Ident| format!("SET SESSION {name} TO DEFAULT; ");
        self.0.iter().map(reset).collect()
    }
}
