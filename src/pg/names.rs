//! The names that pgflight gives to its schema, tables, writes and sessions.

/// The schema of the ledger and of staging tables.
pub(super) const SCHEMA: &str = "pgflight";

/// The prefix of the ids of writes that a server makes of a single stream. Clients cannot use it.
pub const STREAM_PREFIX: &str = "stream:";

/// The prefix of the names of tables that are being filled and do not have their final name yet.
pub(super) const SHADOW_PREFIX: &str = "_pgflight_";

/// The longest session name that PostgreSQL keeps: NAMEDATALEN less one.
const MAX_SESSION_NAME: usize = 63;

/// Number of characters of a write id that all session names of the write share, if the id is that long.
const SHARED_NAME: usize = 40;

/// Returns the name of a session in `pg_stat_activity`: `pgflight <write> <part>`, safe between single quotes.
///
/// A long write id is cut, so that the part stays whole.
pub(super) fn session_name(write: &str, part: &str) -> String {
    let room = MAX_SESSION_NAME.saturating_sub("pgflight  ".len() + part.len());
    let write: String = plain(write).take(room).collect();
    format!("pgflight {write} {part}")
}

/// Returns the prefix that the names of all sessions of a write have.
pub(super) fn session_prefix(write: &str) -> String {
    let end = if write.chars().count() > SHARED_NAME {
        ""
    } else {
        " "
    };
    let write: String = plain(write).take(SHARED_NAME).collect();
    format!("pgflight {write}{end}")
}

fn plain(write: &str) -> impl Iterator<Item = char> {
    let is_plain = |c: &char| matches!(c, ' '..='~') && !matches!(c, '\'' | '\\');
    write
        .chars()
        .map(move |c| if is_plain(&c) { c } else { '?' })
}

#[cfg(test)]
mod tests {
    use super::{session_name, session_prefix};

    #[test]
    fn all_session_names_of_a_write_share_a_prefix() {
        for length in [1, 30, 40, 41, 44, 128] {
            let write = "é".repeat(length);
            for part in ["0", "4294967295", "more", "commit"] {
                let name = session_name(&write, part);
                assert!(name.len() <= 63, "{name}");
                assert!(name.starts_with(&session_prefix(&write)), "{name}");
            }
        }
        assert!(!session_name("ab", "1").starts_with(&session_prefix("a")));
    }
}
