//! `CommandGetSqlInfo`: what the server says about itself.

use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{CommandGetSqlInfo, SqlInfo, SqlSupportedTransaction};

use crate::error::{Error, Result};
use crate::flight::sql::answer::unmade;

/// The facts, with and without transactions. A client that names no transaction in an ingest, as ADBC's driver, needs a
/// session for them.
static FACTS: LazyLock<[Result<SqlInfoData, FlightError>; 2]> =
    LazyLock::new(|| [false, true].map(all));

/// Returns the facts in the layout of Arrow's `FlightSql.proto`: a dense union. ADBC's driver reads its fourth child for
/// numbers of 32 bits, whichever types it has.
fn all(has_sessions: bool) -> Result<SqlInfoData, FlightError> {
    let mut facts = SqlInfoDataBuilder::new();
    facts.append(SqlInfo::FlightSqlServerName, env!("CARGO_PKG_NAME"));
    facts.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    facts.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    facts.append(SqlInfo::FlightSqlServerReadOnly, false);
    facts.append(SqlInfo::FlightSqlServerSql, false);
    facts.append(SqlInfo::FlightSqlServerSubstrait, false);
    let transactions = match has_sessions {
        true => SqlSupportedTransaction::Transaction,
        false => SqlSupportedTransaction::None,
    };
    facts.append(SqlInfo::FlightSqlServerTransaction, transactions as i32);
    facts.append(SqlInfo::FlightSqlServerCancel, false);
    facts.append(SqlInfo::FlightSqlServerBulkIngestion, true);
    facts.append(
        SqlInfo::FlightSqlServerIngestTransactionsSupported,
        has_sessions,
    );
    facts.build()
}

/// Returns the facts that a client asks for; all without a choice.
pub(in crate::flight::sql) fn facts(
    command: &CommandGetSqlInfo,
    has_sessions: bool,
) -> Result<RecordBatch> {
    let [without, with] = &*FACTS;
    match if has_sessions { with } else { without } {
        Ok(facts) => facts
            .record_batch(command.info.iter().copied())
            .map_err(unmade),
        Err(error) => Err(Error::internal(format!("cannot make an answer: {error}"))),
    }
}
