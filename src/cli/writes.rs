//! `pgflight writes` and `pgflight abort`: list the writes of the ledger, and abort one.

use std::collections::HashMap;
use std::process::ExitCode;

use console::{Term, is_dumb, truncate_str, user_attended};
use pgflight::config::{Abort, Writes};
use pgflight::error::{ErrorKind, Result, one_line};
use pgflight::write::{LedgerWrite, RowCounts, WriteFilter, WriteState, Writer};

use super::{connect, eprint, interrupts, print};

/// Lists the writes of a database, once or with `--watch` again and again.
pub(super) async fn list(options: Writes) -> Result<()> {
    let (_, writer) = connect(&options.destination).await?;
    if options.watch {
        return watch(&writer, &options).await;
    }
    let writes = writer.writes(&filter(&options)?).await?;
    match options.ids {
        true => writes.iter().for_each(|write| print(&write.write_id)),
        false => table(&writes).iter().for_each(|line| print(line)),
    }
    Ok(())
}

fn filter(options: &Writes) -> Result<WriteFilter> {
    let states = options.states.iter().map(|state| WriteState::parse(state));
    Ok(WriteFilter {
        states: states.collect::<Result<_>>()?,
        older_than: options.older_than,
        unfinished_first: false,
        limit: options.limit,
    })
}

/// Lists the writes until Ctrl-C, also through an outage of the database.
async fn watch(writer: &Writer, options: &Writes) -> Result<()> {
    let is_terminal = user_attended() && !is_dumb();
    let mut printed: HashMap<String, [String; 9]> = HashMap::new();
    let filter = filter(options)?;
    let mut interrupts = interrupts()?;
    loop {
        match writer.writes(&filter).await {
            Ok(writes) if is_terminal => print(&screen(&fitted(&table(&writes)))),
            Err(error) if is_terminal => print(&screen(&[error.report().to_string()])),
            Ok(writes) => {
                // The oldest first.
                for write in writes.iter().rev() {
                    let cells = cells(write);
                    if printed.get(&write.write_id) != Some(&cells) {
                        print(&line(&cells));
                        printed.insert(write.write_id.clone(), cells);
                    }
                }
                printed.retain(|id, _| writes.iter().any(|write| write.write_id == *id));
            }
            Err(error) => eprint(&error.report().to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(options.interval) => {}
            _ = interrupts.recv() => return Ok(()),
        }
    }
}

/// Cuts the lines to the size of the terminal. A line that wraps, or one too many, would scroll and leave the lines
/// drawn before. The last line is for the cursor.
fn fitted(lines: &[String]) -> Vec<String> {
    let (rows, columns) = Term::stdout().size();
    let lines = lines.iter().take(usize::from(rows.max(2)) - 1);
    let cut = |line: &String| truncate_str(line, columns.into(), "…").into_owned();
    lines.map(cut).collect()
}

/// Returns the text that replaces the terminal's content (ECMA-48: move the cursor home, erase to the end of each line,
/// then to the end of the page).
fn screen(lines: &[String]) -> String {
    format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\n"))
}

/// Returns the line of a write, for output that is not a terminal.
fn line(cells: &[String; 9]) -> String {
    let [id, state, table, rows, changed, attempts, _, _, reason] = cells;
    let place = match table.as_str() {
        "" => String::new(),
        table => format!(" {table}"),
    };
    let changed = match changed.as_str() {
        "" => String::new(),
        changed => format!(" ({changed})"),
    };
    let line = format!("{id} {state}{place}: {rows} rows in {attempts} attempts{changed}");
    match reason.as_str() {
        "" => line,
        reason => format!("{line}: {reason}"),
    }
}

/// Returns the writes in columns below their headings.
fn table(writes: &[LedgerWrite]) -> Vec<String> {
    let heading = [
        "WRITE", "STATE", "TABLE", "ROWS", "CHANGED", "ATTEMPTS", "BEGUN", "ENDED", "REASON",
    ]
    .map(str::to_owned);
    let rows: Vec<[String; 9]> = std::iter::once(heading)
        .chain(writes.iter().map(cells))
        .collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; 9] = std::array::from_fn(width);
    let aligned = |row: &[String; 9]| {
        let cells = row.iter().zip(widths);
        let cells = cells.map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    };
    rows.iter().map(aligned).collect()
}

/// Returns the numbers of changed and of rejected rows: `3 inserted, 5 replaced, 1 rejected`.
fn changed(counts: RowCounts, rejected: u64) -> String {
    let rejected = (rejected > 0).then_some(("rejected", rejected));
    let counts = counts.named().into_iter().chain(rejected);
    let counts = counts.map(|(name, count)| format!("{count} {name}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// Returns the reason of the write's end, and the commonest reasons for which rows were rejected.
fn reason(write: &LedgerWrite) -> String {
    let reasons = write.rejected.reasons.iter();
    let rejected: Vec<String> = reasons.map(ToString::to_string).collect();
    let rejected = match rejected.is_empty() {
        true => String::new(),
        false => format!("rejected: {}", rejected.join(", ")),
    };
    let parts = [write.reason.clone(), rejected];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("; ")
}

fn cells(write: &LedgerWrite) -> [String; 9] {
    [
        one_line(&write.write_id),
        write.state.as_str().to_owned(),
        write
            .target
            .as_ref()
            .map(|target| one_line(&target.to_string()))
            .unwrap_or_default(),
        write.row_count.to_string(),
        changed(write.counts, write.rejected.row_count),
        write.attempt_count.to_string(),
        write.created_at.clone(),
        write.finished_at.clone(),
        one_line(&reason(write)),
    ]
}

const UNKNOWN_HINT: &str = "compare the id with `pgflight writes`, or abort it with --force: a write with this id is then rejected";

/// Aborts the writes, one after another, also after one that cannot be aborted.
pub(super) async fn abort(options: Abort) -> Result<ExitCode> {
    let (_, writer) = connect(&options.destination).await?;
    let mut code = ExitCode::SUCCESS;
    for write_id in &options.write_ids {
        let ended = match options.force {
            true => writer.abort_any(write_id, &options.reason).await,
            false => writer.abort_known(write_id, &options.reason).await,
        };
        match ended {
            Ok(status) => {
                let state = status.state.as_str();
                print(&format!("{}: {state}", one_line(write_id)));
                if status.state != WriteState::Aborted {
                    code = ExitCode::FAILURE;
                }
            }
            Err(error) => {
                let error = match error.kind() == ErrorKind::NotFound {
                    true => error.with_hint(UNKNOWN_HINT),
                    false => error,
                };
                eprint(&error.report().to_string());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
