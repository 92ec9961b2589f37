//! The numbers of rows that keyed modes change.

use serde_json::json;

use super::apply::{TABLE, changes};
use super::replace::replace;
use crate::support::{Database, Pgflight};

#[tokio::test]
async fn keyed_modes_count_the_rows_that_they_change() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = changes(&[
        (1, Some("x"), Some(1), "u"),
        (2, Some("y"), Some(1), "u"),
        (7, Some("z"), Some(1), "u"),
    ]);
    let rows = rows.project(&[0, 1, 2]).unwrap();
    let partitioned = "DROP TABLE IF EXISTS t CASCADE;
         CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL, at int) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (5);
         CREATE TABLE high (at int, name text NOT NULL, id int NOT NULL PRIMARY KEY);
         ALTER TABLE t ATTACH PARTITION high FOR VALUES FROM (5) TO (10);
         INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1)";
    let is_18 = database.is_at_least(18, "counts of partitions").await;
    for (mode, expected) in [
        (
            "upsert",
            json!({"inserted": "1", "updated": "2", "ignored": "0"}),
        ),
        ("insertIfAbsent", json!({"inserted": "1", "ignored": "2"})),
        ("updateOnly", json!({"updated": "2", "ignored": "1"})),
        ("deleteByKey", json!({"deleted": "2", "ignored": "1"})),
    ] {
        for (made, is_partitioned) in [(TABLE, false), (partitioned, true)] {
            for id in [None, Some(format!("{mode}{is_partitioned}"))] {
                database.execute(made).await;
                let spec = json!({"table": "t", mode: {}});
                let written = replace(&mut client, spec, &rows, id.as_deref())
                    .await
                    .unwrap();
                let expected = match (mode, is_partitioned && !is_18) {
                    // Before version 18, PostgreSQL does not say which rows of partitions are new.
                    ("upsert", true) => json!({"ignored": "0"}),
                    _ => expected.clone(),
                };
                assert_eq!(
                    written["counts"], expected,
                    "{mode}, {is_partitioned}, {id:?}"
                );
            }
        }
    }
}
