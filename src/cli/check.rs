//! `pgflight check`: reports what works in each target and what fails.

use std::process::ExitCode;

use arrow_pgcopy::table::TableName;
use pgflight::config::{Check, TargetConfig, load_targets};
use pgflight::error::{Error, Result};
use pgflight::pg::Pool;
use pgflight::write::{Expected, Finding, Verdict, Writer};

use super::{START_TIMEOUT, print};

/// Checks the targets and prints the findings.
pub(super) async fn check(options: Check) -> Result<ExitCode> {
    let table = options.table.as_deref().map(TableName::parse).transpose()?;
    let targets = load_targets(&options.destination)?;
    if table.is_some() && targets.len() > 1 {
        let names: Vec<&str> = targets.keys().map(String::as_str).collect();
        return Err(
            Error::invalid_command("--table needs one target, and the file has several")
                .with_hint(format!("choose one with --target: {}", names.join(", "))),
        );
    }
    let mut is_bad = false;
    for (name, target) in &targets {
        print(&format!("target {name}: {}", target.connection));
        let findings = match findings(target, table.as_ref()).await {
            Ok(findings) => findings,
            Err(error) => vec![Finding {
                verdict: Verdict::Bad,
                text: error.report().to_string(),
                fix_sql: Vec::new(),
            }],
        };
        for finding in &findings {
            is_bad |= finding.verdict == Verdict::Bad;
            report(finding);
        }
    }
    Ok(if is_bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn findings(target: &TargetConfig, table: Option<&TableName>) -> Result<Vec<Finding>> {
    let writer = Writer::new(Pool::new(&target.connection, &target.pool)?);
    writer.check(START_TIMEOUT).await?;
    let expected = Expected {
        connections: target.pool.connections(),
        tls_mode: target.connection.tls_mode().map(str::to_owned),
    };
    let mut findings = writer.check_database(&expected).await?;
    if let Some(table) = table {
        findings.extend(writer.check_table(table).await?);
    }
    Ok(findings)
}

fn report(finding: &Finding) {
    let verdict = match finding.verdict {
        Verdict::Good => "ok",
        Verdict::Warning => "warning",
        Verdict::Bad => "FAILS",
    };
    print(&format!("  {verdict:7}  {}", finding.text));
    for statement in &finding.fix_sql {
        print(&format!("           {statement}"));
    }
}
