//! Whether a pooler is between this server and PostgreSQL, and how it hands connections out.

use super::pool::{Pool, Session};
use crate::error::{Error, Result};

/// How a pooler hands out its connections of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooler {
    /// A client keeps one until it leaves, as far as can be seen.
    Session,
    /// A client has one for a transaction, and the next client has it afterwards.
    Transaction,
}

/// How often two connections are looked at before they count as never shared.
const LOOKS: usize = 5;

/// Finds out whether there is a pooler.
///
/// PostgreSQL names its own process when a client logs in; a pooler answers the login itself and makes a number up.
/// Where two clients meet the same process, or one client meets several, connections are shared by transactions.
///
/// # Errors
/// That PostgreSQL cannot be asked.
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

/// The process of PostgreSQL that carries out a statement.
async fn backend(session: &Session) -> Result<i32> {
    let rows = session
        .query("SELECT pg_catalog.pg_backend_pid()", &[])
        .await?;
    let row = rows.first();
    row.map(|row| row.get(0))
        .ok_or_else(|| Error::internal("PostgreSQL did not name its process"))
}
