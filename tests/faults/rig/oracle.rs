//! The conditions that must hold after every run.

use pgflight::failpoint::Failpoint;
use serde_json::{Value, json};

use super::job::{End, Job};
use crate::support::{Database, wait_until};

/// A mode, the rows in the table before, and the rows that must be there after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Append,
    AppendInTwoPhases,
    AppendWithStatements,
    Create,
    Overwrite,
    OverwriteByDelete,
    OverwriteBySwap,
    ReplaceBy,
    ReplaceWhere,
    Upsert,
    ApplyChanges,
}

/// Rows of another writer that are there before.
pub const BEFORE: &str = "SELECT p, s, 'old' FROM generate_series(0, 1) p, generate_series(0, 9) s";

impl Mode {
    pub const ALL: [Self; 11] = [
        Self::Append,
        Self::AppendInTwoPhases,
        Self::AppendWithStatements,
        Self::Create,
        Self::Overwrite,
        Self::OverwriteByDelete,
        Self::OverwriteBySwap,
        Self::ReplaceBy,
        Self::ReplaceWhere,
        Self::Upsert,
        Self::ApplyChanges,
    ];

    pub async fn prepare(self, database: &Database, table: &str) {
        if self == Self::Create {
            return;
        }
        let key = if matches!(
            self,
            Self::Upsert | Self::ApplyChanges | Self::OverwriteBySwap
        ) {
            ", PRIMARY KEY (part, seq)"
        } else {
            ""
        };
        database
            .execute(&format!("CREATE TABLE {table} (part int, seq int, payload text{key}); INSERT INTO {table} {BEFORE}"))
            .await;
    }

    pub fn spec(self, table: &str) -> Value {
        match self {
            Self::Append => {
                json!({"table": table, "append": {"publish": "PUBLISH_STAGED"}})
            }
            Self::AppendInTwoPhases => {
                json!({"table": table, "append": {"publish": "PUBLISH_TWO_PHASE"}})
            }
            Self::AppendWithStatements => {
                json!({"table": table, "append": {}, "before": ["before"], "after": ["after"]})
            }
            Self::Create => json!({"table": table, "create": {}}),
            Self::Overwrite => json!({"table": table, "overwrite": {}}),
            Self::OverwriteByDelete => {
                json!({"table": table, "overwrite": {"with": "OVERWRITE_WITH_DELETE"}})
            }
            Self::OverwriteBySwap => {
                json!({"table": table, "overwrite": {"with": "OVERWRITE_WITH_SWAP"}})
            }
            Self::ReplaceBy => json!({"table": table, "overwrite": {"replaceBy": ["part"]}}),
            Self::ReplaceWhere => {
                let condition = "seq < 5 OR payload <> 'old'";
                json!({"table": table, "overwrite": {"replaceWhere": condition}})
            }
            Self::Upsert => {
                json!({"table": table, "upsert": {"keys": ["part", "seq"]}})
            }
            // The payload says which rows delete, and is written by no row.
            Self::ApplyChanges => {
                let deletes = json!({"column": "payload", "values": ["0:3", "1:3"]});
                json!({"table": table, "upsert": {"deleteWhen": deletes}})
            }
        }
    }

    /// Returns whether a job in this mode passes this point.
    pub fn passes(self, point: Failpoint) -> bool {
        let of_two_phases = matches!(
            point,
            Failpoint::AttemptAfterPrepare | Failpoint::CommitBeforeFinish
        );
        !of_two_phases || self == Self::AppendInTwoPhases
    }

    /// Returns SQL for the rows that a committed job leaves.
    pub fn after(self, job: &Job) -> String {
        let written = format!(
            "SELECT p, s, p || ':' || s FROM generate_series(0, {} - 1) p, generate_series(0, {} - 1) s",
            job.partitions, job.rows
        );
        match self {
            Self::Append | Self::AppendInTwoPhases | Self::AppendWithStatements => format!("{BEFORE} UNION ALL {written}"),
            Self::Create
            | Self::Overwrite
            | Self::OverwriteByDelete
            | Self::OverwriteBySwap => written,
            Self::ReplaceBy => format!(
                "{written} UNION ALL SELECT * FROM ({BEFORE}) b(p, s, v) WHERE p >= {}",
                job.partitions
            ),
            Self::ReplaceWhere => {
                format!("{written} UNION ALL SELECT * FROM ({BEFORE}) b(p, s, v) WHERE s >= 5")
            }
            Self::ApplyChanges => format!(
                "SELECT p, s, NULL::text FROM ({written}) w(p, s, v) WHERE NOT (p < 2 AND s < 10) UNION ALL
                 SELECT * FROM ({BEFORE}) b(p, s, v) WHERE NOT (s = 3 AND p < {} AND {} > 3)",
                job.partitions, job.rows
            ),
            Self::Upsert => format!(
                "{written} UNION ALL SELECT p, s, 'old' FROM generate_series(0, 1) p, generate_series(0, 9) s
                 WHERE NOT (p < {} AND s < {})",
                job.partitions, job.rows
            ),
        }
    }
}

/// Checks that rows, ledger and leftovers agree with the end of the job.
pub async fn check(database: &Database, job: &Job, mode: Mode, table: &str, end: End) {
    check_write(database, job, mode, table, end).await;
    check_leftovers(database, &job.write_id).await;
}

/// Checks that rows and ledger agree with the end of the job.
pub async fn check_write(database: &Database, job: &Job, mode: Mode, table: &str, end: End) {
    let id = &job.write_id;
    let there = database
        .text(&format!("SELECT to_regclass('{table}') IS NOT NULL"))
        .await
        == "true";
    let expected = match (end, mode) {
        (End::Committed, _) => mode.after(job),
        (End::Aborted | End::StagingLost, Mode::Create) => {
            assert!(!there, "{id}: an aborted create makes no table");
            return;
        }
        (End::Aborted | End::StagingLost, _) => BEFORE.to_owned(),
    };
    check_rows(
        database,
        table,
        &expected,
        &format!("{id}, {mode:?}, {end:?}"),
    )
    .await;
    if mode == Mode::AppendWithStatements {
        let expected = match end {
            End::Committed => "after,before",
            End::Aborted | End::StagingLost => "null",
        };
        let ran = format!(
            "SELECT string_agg(what, ',' ORDER BY what) FROM around WHERE session LIKE 'pgflight {id} %'"
        );
        assert_eq!(database.text(&ran).await, expected, "{id}: statements");
    }
    let ledger = database
        .text(&format!(
            "SELECT state || ' ' || row_count FROM pgflight.write WHERE write_id = '{id}'"
        ))
        .await;
    match end {
        End::Committed => assert_eq!(
            ledger,
            format!("committed {}", job.partitions * job.rows),
            "{id}"
        ),
        End::Aborted | End::StagingLost => assert_eq!(ledger, "aborted 0", "{id}"),
    }
}

/// Checks that the rows of a table are those of this SQL.
pub async fn check_rows(database: &Database, table: &str, expected: &str, place: &str) {
    let found = format!("SELECT part, seq, payload FROM {table}");
    for (what, rows) in [
        ("lost", format!("({expected}) EXCEPT ALL ({found})")),
        (
            "doubled or foreign",
            format!("({found}) EXCEPT ALL ({expected})"),
        ),
    ] {
        let count = database
            .text(&format!("SELECT count(*) FROM ({rows}) rows"))
            .await;
        assert_eq!(count, "0", "{place}: rows that are {what}");
    }
}

/// Checks that no staging table, no session in a transaction and no prepared transaction is left.
pub async fn check_leftovers(database: &Database, id: &str) {
    let staged = "SELECT count(*) FROM pg_class WHERE relname LIKE 'staging%' AND relkind = 'r'
                  OR relname LIKE '\\_pgflight\\_%' AND relkind = 'r'";
    wait_until(
        async || database.text(staged).await == "0",
        &format!("{id}: the staging table is gone"),
    )
    .await;
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name = 'pgflight' AND state LIKE 'idle in transaction%'";
    wait_until(
        async || database.text(sessions).await == "0",
        &format!("{id}: no session holds a transaction"),
    )
    .await;
    let prepared = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
    wait_until(
        async || database.text(prepared).await == "0",
        &format!("{id}: no prepared transaction is left"),
    )
    .await;
}
