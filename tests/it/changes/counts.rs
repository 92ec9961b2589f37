//! The numbers of rows that keyed modes change.

use serde_json::json;

use super::apply::{TABLE, changes};
use super::replace::replace;
use crate::modes::keyed::ints;
use crate::support::{Database, Pgflight, batch, metric};

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

#[tokio::test]
async fn the_metrics_add_up_the_rows_that_writes_changed() {
    let database = Database::new().await;
    let server = Pgflight::start_with(&database, &["--metrics-listen", "127.0.0.1:0"]);
    let mut client = server.client().await;
    let rows = changes(&[
        (1, Some("x"), Some(20), "u"),
        (2, Some("y"), Some(1), "u"),
        (3, Some("z"), Some(1), "d"),
        (8, Some("z"), Some(1), "u"),
    ]);
    let written = rows.project(&[0, 1, 2]).unwrap();
    let rows = rows.project(&[0, 1, 2, 3]).unwrap();
    let rules = json!({"deleteWhen": {"column": "op", "values": ["d"]}, "newerBy": "at"});
    let mut sum = [0.0; 5];
    let names = ["inserted", "updated", "deleted", "replaced", "ignored"];
    for (number, (spec, rows)) in [
        (json!({"append": {}}), &written),
        (json!({"upsert": rules}), &rows),
        (json!({"overwrite": {"replaceWhere": "id > 0"}}), &written),
        (
            json!({"overwrite": {"with": "OVERWRITE_WITH_DELETE"}}),
            &written,
        ),
        (
            json!({"overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
            &written,
        ),
        (json!({"deleteByKey": {}}), &written),
    ]
    .into_iter()
    .enumerate()
    {
        for id in [None, Some(format!("w{number}"))] {
            let made = match spec.get("append") {
                None => TABLE.to_owned(),
                Some(_) => format!("{TABLE}; TRUNCATE t"),
            };
            database.execute(&made).await;
            let mut spec = spec.clone();
            spec["table"] = "t".into();
            let answer = replace(&mut client, spec, rows, id.as_deref()).await;
            let counts = answer.unwrap()["counts"].clone();
            if let Some(id) = &id {
                // Counts once, however often it is committed.
                client.commit(id, &[]).await.unwrap();
            }
            for (name, sum) in names.iter().zip(&mut sum) {
                let count = counts[name]
                    .as_str()
                    .map_or(0.0, |count| count.parse().unwrap());
                *sum += count;
                let metric_name = format!("pgflight_changed_rows_total{{change=\"{name}\"}}");
                let found = metric(&server.monitor, &metric_name).await;
                assert!(
                    (found - *sum).abs() < 0.5,
                    "{name}: {found}, {sum}, {counts}"
                );
            }
        }
    }
    assert!(sum.iter().all(|sum| *sum > 0.0), "{sum:?}");
}

#[tokio::test]
async fn an_upsert_needs_to_read_only_the_columns_of_the_data() {
    let database = Database::new().await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
    let role = name.replace("pgflight_test", "pgflight_counts");
    database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; CREATE TABLE t (id int PRIMARY KEY, v int, secret int);
             GRANT INSERT, UPDATE, SELECT (id, v) ON t TO {role};
             INSERT INTO t VALUES (1, 1, 1); CREATE SCHEMA pgflight AUTHORIZATION {role}"
        ))
        .await;
    let server = Pgflight::start_at(&database.url_as(&role), &[]);
    let mut client = server.client().await;
    let rows = batch(&[
        ("id", ints(&[Some(1), Some(2)])),
        ("v", ints(&[Some(7), Some(7)])),
    ]);
    for id in [None, Some("w")] {
        let spec = json!({"table": "t", "upsert": {}});
        let written = replace(&mut client, spec, &rows, id).await.unwrap();
        assert_eq!(written["counts"]["ignored"], "0", "{written}");
    }
    let left = database.text("SELECT t FROM t ORDER BY id").await;
    assert_eq!(left, "(1,7,1),(2,7,)");
    drop(server);
    database
        .execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"))
        .await;
}
