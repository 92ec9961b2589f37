//! `CommandGetSqlInfo`: what the server says about itself.

use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{CommandGetSqlInfo, SqlInfo, SqlSupportedTransaction};

use super::answer::unmade;
use crate::error::{Error, Result};

/// The facts in the layout of Arrow's `FlightSql.proto`: a dense union. ADBC's driver reads its fourth child for numbers
/// of 32 bits, whichever types it has.
static FACTS: LazyLock<Result<SqlInfoData, FlightError>> = LazyLock::new(|| {
    let mut facts = SqlInfoDataBuilder::new();
    facts.append(SqlInfo::FlightSqlServerName, env!("CARGO_PKG_NAME"));
    facts.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    facts.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    facts.append(SqlInfo::FlightSqlServerReadOnly, false);
    facts.append(SqlInfo::FlightSqlServerSql, false);
    facts.append(SqlInfo::FlightSqlServerSubstrait, false);
    let transactions = SqlSupportedTransaction::None as i32;
    facts.append(SqlInfo::FlightSqlServerTransaction, transactions);
    facts.append(SqlInfo::FlightSqlServerCancel, false);
    facts.append(SqlInfo::FlightSqlServerBulkIngestion, true);
    facts.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    facts.build()
});

/// Returns the facts that a client asks for; all without a choice.
pub(super) fn facts(command: &CommandGetSqlInfo) -> Result<RecordBatch> {
    match &*FACTS {
        Ok(facts) => facts
            .record_batch(command.info.iter().copied())
            .map_err(unmade),
        Err(error) => Err(Error::internal(format!("cannot make an answer: {error}"))),
    }
}
