//! `pgflight writes` and `pgflight abort`: what the ledger knows, and how to end what nobody ends.

use std::process::ExitCode;

use pgflight::config::{Abort, Writes};
use pgflight::error::Result;
use pgflight::write::{LedgerWrite, WriteState};

use super::{connect, say};

/// Lists the writes of a database.
pub(super) async fn list(options: Writes) -> Result<()> {
    let (_, writer) = connect(&options.destination).await?;
    let writes = writer.writes(options.limit).await?;
    let heading = [
        "WRITE", "STATE", "TABLE", "ROWS", "ATTEMPTS", "BEGUN", "ENDED", "REASON",
    ]
    .map(str::to_owned);
    let rows: Vec<[String; 8]> = std::iter::once(heading)
        .chain(writes.iter().map(cells))
        .collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; 8] = std::array::from_fn(width);
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        say(cells.join("  ").trim_end());
    }
    Ok(())
}

fn cells(write: &LedgerWrite) -> [String; 8] {
    [
        write.write_id.clone(),
        write.state.as_str().to_owned(),
        write
            .target
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        write.row_count.to_string(),
        write.attempt_count.to_string(),
        write.created_at.clone(),
        write.finished_at.clone(),
        write.reason.clone(),
    ]
}

/// Ends a write.
pub(super) async fn abort(options: Abort) -> Result<ExitCode> {
    let (_, writer) = connect(&options.destination).await?;
    let status = writer.abort(&options.write_id, &options.reason).await?;
    if status.table.is_empty() {
        say(&format!(
            "{}: no such write was known; one of this name is refused from now on",
            status.write_id
        ));
        return Ok(ExitCode::FAILURE);
    }
    say(&format!("{}: {}", status.write_id, status.state.as_str()));
    Ok(match status.state {
        WriteState::Aborted => ExitCode::SUCCESS,
        WriteState::Open | WriteState::Committing | WriteState::Committed => ExitCode::FAILURE,
    })
}
