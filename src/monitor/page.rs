//! The status page, rendered as HTML here so that it needs no script. With scripts, the browser refreshes it.

use std::fmt::Write;

use super::chart::{bar, curve};
use super::status::{
    EndedStream, Prepared, RecentError, Status, Stream, Target, Write as LedgerWrite,
};
use super::text::{Escaped, count, duration, percent, rate, size};

/// The number of characters that fit into a column of names, also on a narrow screen.
const SHORT: usize = 15;

/// Renders the page for a status.
pub(super) fn page(status: &Status) -> String {
    let mut html = String::with_capacity(32 * 1024);
    html.push_str(HEAD);
    for part in [
        head(status),
        verdict(status),
        figures(status),
        streams(status),
        writes(status),
        prepared(status),
        errors(status),
        ended(status),
    ] {
        html.push_str(&part);
    }
    html.push_str(FOOT);
    html
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>pgflight</title>
<link rel="stylesheet" href="/page.css">
<link rel="icon" href="/icon.svg">
<script src="/page.js" defer></script>
<noscript><meta http-equiv="refresh" content="5"></noscript>
</head>
<body>
<p id="stale" hidden>This server does not answer any more; the page below is old.</p>
<main>
"#;

const FOOT: &str = r#"</main>
<footer><a href="/status.json">status.json</a> <a href="/metrics">metrics</a>
<span>Streams and the curve are of this server; writes are of all servers of the database.</span></footer>
</body>
</html>
"#;

fn head(status: &Status) -> String {
    let serving = if status.is_draining {
        pill("warn", "draining")
    } else {
        pill("good", "serving")
    };
    let targets: String = status.targets.iter().map(target).collect();
    format!(
        "<header><h1>pgflight <small>{version}</small></h1>{serving}\
         <p class=\"where\">up for {uptime}, as of <time>{now}</time></p>{targets}</header>",
        version = Escaped(status.version),
        uptime = duration(crate::metrics::to_f64(status.uptime_seconds)),
        now = Escaped(&status.now),
    )
}

fn target(target: &Target) -> String {
    let state = match (target.is_reachable, target.problem) {
        (true, None) => pill("good", "PostgreSQL answers"),
        (true, Some(problem)) => pill(
            "bad",
            &format!("cannot read the ledger: {problem}; run pgflight check"),
        ),
        (false, _) => pill("bad", "PostgreSQL does not answer"),
    };
    format!(
        "<p class=\"target\"><b>{}</b> {} {state}</p>",
        Escaped(&target.name),
        Escaped(&target.address)
    )
}

fn verdict(status: &Status) -> String {
    let (side, words, share) = match &status.bottleneck {
        Some(slow) if status.stream_count == 0 && status.publishing_count > 0 => {
            (slow.side, slow.words, String::new())
        }
        Some(slow) => (
            slow.side,
            slow.words,
            format!("{} of the streams' last minute", percent(slow.share)),
        ),
        None => ("idle", "No stream ran in the last minute.", String::new()),
    };
    format!(
        "<section class=\"verdict {side}\" id=\"bottleneck\" data-side=\"{side}\"><h2>What is slow</h2>\
         <p class=\"words\">{words}</p><p class=\"share\">{share}</p>{bar}</section>",
        bar = bar(&status.shares),
    )
}

fn figures(status: &Status) -> String {
    // The value of a single second jumps too much.
    let recent = status.rows_per_second.len().saturating_sub(5);
    let recent = &status.rows_per_second[recent..];
    let now =
        recent.iter().sum::<f64>() / f64::from(u8::try_from(recent.len().max(1)).unwrap_or(1));
    let mut parts = status.memory.iter();
    let messages = parts.find(|part| part.part == "messages");
    let (used, limit) = messages.map_or((0, 0), |part| (part.used_bytes, part.limit_bytes));
    let counts = status
        .targets
        .iter()
        .flat_map(|target| &target.write_counts);
    let open = counts.filter(|writes| matches!(writes.state, "open" | "committing"));
    let figures = [
        ("rows/s", rate(now)),
        ("bytes/s", size(status.bytes_per_second)),
        (
            "streams",
            count(u64::try_from(status.stream_count).unwrap_or(u64::MAX)),
        ),
        (
            "wait for a turn",
            count(u64::try_from(status.turns_waiting).unwrap_or(u64::MAX)),
        ),
        ("open writes", count(open.map(|writes| writes.count).sum())),
        ("publishing", count(status.publishing_count)),
        ("published here", count(status.published_row_count)),
        (
            "memory for messages",
            format!(
                "{} of {}",
                size(crate::metrics::to_f64(used)),
                size(crate::metrics::to_f64(limit))
            ),
        ),
    ];
    let mut list = String::new();
    for (name, figure) in figures {
        write!(list, "<div><dt>{name}</dt><dd>{figure}</dd></div>").ok();
    }
    format!(
        "<section><h2>Rows per second</h2>{}<dl class=\"figures\">{list}</dl></section>",
        curve(&status.rows_per_second)
    )
}

fn streams(status: &Status) -> String {
    let rows = status.streams.iter().map(stream).collect();
    let more = status.stream_count.saturating_sub(status.streams.len());
    let table = table(
        "streams",
        &[
            "write",
            "#partition",
            "table",
            "#rows",
            "#bytes",
            "#rows/s",
            "#runs for",
            "now it",
            "mostly waits for",
        ],
        rows,
        "No stream runs on this server.",
    );
    let more = match more {
        0 => String::new(),
        more => format!("<p>and {more} more</p>"),
    };
    format!("<section><h2>Running streams</h2>{table}{more}</section>")
}

fn stream(stream: &Stream) -> Vec<String> {
    let mut cells = common(stream);
    cells.push(format!(
        "{} <span class=\"quiet\">for {}</span>",
        stream.activity,
        duration(stream.activity_seconds)
    ));
    cells.push(side(stream.slow_side));
    cells
}

fn ended(status: &Status) -> String {
    let rows = status.ended_streams.iter().map(ended_stream).collect();
    let table = table(
        "ended",
        &[
            "write",
            "#partition",
            "table",
            "#rows",
            "#bytes",
            "#rows/s",
            "#ran for",
            "end",
            "mostly waited for",
        ],
        rows,
        "None yet.",
    );
    format!("<section><h2>Finished streams</h2>{table}</section>")
}

fn ended_stream(ended: &EndedStream) -> Vec<String> {
    let mut cells = common(&ended.stream);
    let kind = match ended.outcome {
        "succeeded" => "good",
        _ => "bad",
    };
    cells.push(format!(
        "{} <time class=\"quiet\">{}</time>",
        pill(kind, ended.outcome),
        Escaped(&ended.ended_at)
    ));
    cells.push(side(ended.stream.slow_side));
    cells
}

fn common(stream: &Stream) -> Vec<String> {
    vec![
        code(&stream.write_id),
        stream.partition_id.to_string(),
        place(&stream.target, &stream.table),
        count(stream.row_count),
        size(crate::metrics::to_f64(stream.byte_count)),
        rate(stream.rows_per_second),
        duration(stream.seconds),
    ]
}

fn writes(status: &Status) -> String {
    let rows = status.writes.iter().map(write).collect();
    let table = table(
        "writes",
        &[
            "write",
            "state",
            "table",
            "#rows",
            "#rejected",
            "#bytes",
            "#attempts",
            "begun",
            "ended",
        ],
        rows,
        "The ledger has no writes.",
    );
    format!("<section><h2>Writes of many partitions</h2>{table}</section>")
}

fn write(write: &LedgerWrite) -> Vec<String> {
    let kind = match write.state {
        "committed" => "good",
        "aborted" | "prepared_lost" => "bad",
        _ => "warn",
    };
    vec![
        code(&write.write_id),
        pill(kind, write.state),
        place(&write.target, &write.table),
        count(write.row_count),
        count(write.rejected_count),
        size(crate::metrics::to_f64(write.byte_count)),
        write.attempt_count.to_string(),
        format!("<time>{}</time>", Escaped(&write.begun_at)),
        format!("<time>{}</time>", Escaped(&write.ended_at)),
    ]
}

/// Renders the prepared transactions; nothing if there are none.
fn prepared(status: &Status) -> String {
    if status.prepared.is_empty() {
        return String::new();
    }
    let rows = status.prepared.iter().map(prepared_transaction).collect();
    let table = table(
        "prepared",
        &["write", "state", "#age", "prepared", "name"],
        rows,
        "",
    );
    format!(
        "<section><h2>Prepared transactions</h2><p class=\"quiet\">{} in all. Each holds rows of an attempt and a \
         lock on its table until its write ends.</p>{table}</section>",
        count(status.prepared_count)
    )
}

fn prepared_transaction(prepared: &Prepared) -> Vec<String> {
    let kind = match prepared.state {
        "open" | "committing" => "warn",
        _ => "bad",
    };
    let state = match prepared.state {
        "" => "unknown",
        state => state,
    };
    vec![
        place(&prepared.target, &prepared.write_id),
        pill(kind, state),
        duration(prepared.seconds),
        format!("<time>{}</time>", Escaped(&prepared.prepared_at)),
        code(&prepared.gid),
    ]
}

fn errors(status: &Status) -> String {
    let rows = status.errors.iter().map(error).collect();
    let table = table(
        "errors",
        &[
            "when",
            "kind",
            "SQLSTATE",
            "call",
            "write",
            "#partition",
            "table",
            "column",
        ],
        rows,
        "None since the server started.",
    );
    let more = if status.errors.is_empty() {
        ""
    } else {
        "<p class=\"quiet\">The log has their text.</p>"
    };
    format!("<section><h2>Errors returned to callers</h2>{table}{more}</section>")
}

fn error(error: &RecentError) -> Vec<String> {
    vec![
        format!("<time>{}</time>", Escaped(&error.at)),
        pill("bad", error.kind),
        code(&error.sqlstate),
        error.call.to_owned(),
        code(&error.write_id),
        error
            .partition_id
            .map(|id| id.to_string())
            .unwrap_or_default(),
        code(&error.table),
        code(&error.column),
    ]
}

/// Renders a table. The cells are HTML already; columns whose heading begins with # hold numbers.
fn table(id: &str, headings: &[&str], rows: Vec<Vec<String>>, none: &str) -> String {
    if rows.is_empty() {
        return format!("<p class=\"quiet\" id=\"{id}\">{none}</p>");
    }
    let class = |column: usize| {
        if headings[column].starts_with('#') {
            " class=\"number\""
        } else {
            ""
        }
    };
    let mut html = format!("<div class=\"scroll\"><table id=\"{id}\"><thead><tr>");
    for (column, heading) in headings.iter().enumerate() {
        let heading = heading.trim_start_matches('#');
        write!(html, "<th{}>{heading}</th>", class(column)).ok();
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            write!(html, "<td{}>{cell}</td>", class(column)).ok();
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

fn pill(kind: &str, text: &str) -> String {
    format!("<span class=\"pill {kind}\">{}</span>", Escaped(text))
}

/// Renders a name. A name that is too long for its column has a tooltip.
fn code(text: &str) -> String {
    match text.chars().count() {
        0 => String::new(),
        1..=SHORT => format!("<code>{}</code>", Escaped(text)),
        _ => format!("<code title=\"{0}\">{0}</code>", Escaped(text)),
    }
}

/// Renders a table with its target, if the target has a name.
fn place(target: &str, table: &str) -> String {
    match target {
        "" | "default" => code(table),
        target => format!(
            "<span class=\"quiet\">{}</span> {}",
            Escaped(target),
            code(table)
        ),
    }
}

fn side(side: Option<&'static str>) -> String {
    match side {
        Some(side) => format!("<span class=\"dot {side}\"></span>{side}"),
        None => String::new(),
    }
}
