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

/// The prefix of the settings of PL/pgSQL. They stand for all if pg_settings does not show them.
const PLPGSQL: &str = "plpgsql";

/// Statements that drop the temporary objects that were left in a session. What was left may include a timeout, and a
/// table that another session has locked.
pub(super) const RESET_TEMPORARY: &str = "\
    SET LOCAL statement_timeout TO DEFAULT; SET LOCAL lock_timeout = 2000; DISCARD TEMP; ";

/// Returns SQL for the names of the settings that differ from those with which the session began, separated by commas;
/// empty if there is none. It excludes settings of the transaction itself, those that its first statements have set,
/// those that a pooler keeps equal for its client, and those that only a superuser may reset. Before PL/pgSQL is loaded,
/// its settings are not shown, and [`PLPGSQL`] is among the names if one of them is set.
pub(super) fn query() -> String {
    let own = "'{search_path,client_encoding,application_name,lock_timeout,\
               transaction_isolation,transaction_read_only,transaction_deferrable}'";
    let of_plpgsql =
        "'{plpgsql.check_asserts,plpgsql.print_strict_params,plpgsql.variable_conflict}'";
    format!(
        "(SELECT pg_catalog.concat_ws(',', \
            pg_catalog.string_agg(s.name, ',') FILTER (WHERE s.source OPERATOR(pg_catalog.=) 'session' \
                AND pg_catalog.concat(s.setting) OPERATOR(pg_catalog.<>) pg_catalog.concat(s.reset_val) \
                AND s.name OPERATOR(pg_catalog.<>) ALL ({own}::pg_catalog.text[]) \
                AND (s.context OPERATOR(pg_catalog.=) 'user' \
                     OR pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on')), \
            CASE WHEN pg_catalog.count(*) FILTER (WHERE pg_catalog.starts_with(s.name, '{PLPGSQL}.')) \
                      OPERATOR(pg_catalog.=) 0 \
                 THEN (SELECT pg_catalog.max('{PLPGSQL}') FROM pg_catalog.unnest({of_plpgsql}::pg_catalog.text[]) AS p(name) \
                       WHERE pg_catalog.current_setting(p.name, true) OPERATOR(pg_catalog.<>) '') END) \
          FROM pg_catalog.pg_settings AS s)"
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
        let Some(names) = names.filter(|names| !names.is_empty()) else {
            return Ok(None);
        };
        let names: std::result::Result<_, _> = names.split(',').map(Ident::new).collect();
        Ok(Some(Self(names?)))
    }

    /// Returns whether the session begins read-only transactions because of them.
    pub(super) fn forbid_writes(&self) -> bool {
        self.has(READ_ONLY)
    }

    /// Returns whether PL/pgSQL has settings that are not shown. [`Leftovers::reset`] makes PostgreSQL show them.
    pub(super) fn are_hidden(&self) -> bool {
        self.has(PLPGSQL)
    }

    /// Returns the statements that reset them for the session.
    pub(super) fn reset(&self) -> String {
        if self.are_hidden() {
            return "DO LANGUAGE plpgsql 'BEGIN END'; ".to_owned();
        }
        let reset = |name: &Ident| format!("SET SESSION {name} TO DEFAULT; ");
        self.0.iter().map(reset).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|left| left.as_str() == name)
    }
}
