//! Detects a pooler between the server and PostgreSQL.

use super::pool::Pool;
use super::session::Session;
use crate::error::{Error, Result};

/// The mode of a pooler: how it assigns its connections to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooler {
    /// A client keeps a connection until it disconnects, as far as the server can see.
    Session,
    /// A client has a connection for one transaction.
    Transaction,
}

/// Number of comparisons of two connections before they count as never shared.
const LOOKS: usize = 5;

/// Detects a pooler; `None` when there is none.
///
/// PostgreSQL returns the id of its process when a client logs in. A pooler answers the login itself and invents an
/// id. If two clients meet the same process, or one client meets several, transactions share connections.
///
/// # Errors
/// The errors of [`Pool::session`]; any error that PostgreSQL reports.
pub async fn find_pooler(pool: &Pool) -> Result<Option<Pooler>> {
    let first = pool.session().await?;
    let process = backend(&first).await?;
    if first.process().is_none_or(|named| named == process) {
        return Ok(None);
    }
    let second = pool.session().await?;
    let other = backend(&second).await?;
    for _ in 0..LOOKS {
        if other == process || backend(&first).await? != process || backend(&second).await? != other
        {
            return Ok(Some(Pooler::Transaction));
        }
    }
    Ok(Some(Pooler::Session))
}

/// Returns the id of the process that runs a statement.
async fn backend(session: &Session) -> Result<i32> {
    let rows = session
        .query("SELECT pg_catalog.pg_backend_pid()", &[])
        .await?;
    let row = rows.first();
    row.map(|row| row.get(0))
        .ok_or_else(|| Error::internal("PostgreSQL did not return the id of its process"))
}
