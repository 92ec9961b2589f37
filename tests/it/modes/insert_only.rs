//! Targets that PostgreSQL fills by INSERT but not by COPY: tables under row-level security, and views.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::{Client, Database, Pgflight, Put, attempt, batch, write};

fn rows(ids: &[i32]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int32Array::from(ids.to_vec()));
    batch(&[("id", ids)])
}

/// The same rows as one stream and as a write of one attempt.
async fn both_ways(
    client: &mut Client,
    table: &str,
    rows: &RecordBatch,
) -> [Result<Value, Status>; 2] {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let id = format!("w{number}");
    let spec = json!({"table": table, "append": {}});
    let one = Put::whole(write(spec.clone()), std::slice::from_ref(rows));
    let one = client.put(one).await;
    let many = async {
        client.begin(&id, spec, rows).await?;
        let put = Put::whole(attempt(&id, 0, "a"), std::slice::from_ref(rows));
        let receipt = client.put(put).await?;
        client.commit(&id, &[receipt]).await
    };
    [one, many.await]
}

#[tokio::test]
async fn rows_are_held_to_the_policies_of_a_table() {
    let database = Database::new().await;
    let name = database.url.rsplit_once('/').unwrap().1;
    let role = name.replace("pgflight_test", "pgflight_policy");
    database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {name} TO {role};
             CREATE TABLE t (id int); GRANT ALL ON t TO {role};
             ALTER TABLE t ENABLE ROW LEVEL SECURITY;
             CREATE POLICY small ON t USING (true) WITH CHECK (id < 10)"
        ))
        .await;
    let server = Pgflight::start_at(&database.url_as(&role), &[]);
    let mut client = server.client().await;
    for done in both_ways(&mut client, "t", &rows(&[1, 2])).await {
        assert_eq!(done.unwrap()["rowCount"], "2");
    }
    assert_eq!(
        database.text("SELECT id FROM t ORDER BY id").await,
        "1,1,2,2"
    );
    for done in both_ways(&mut client, "t", &rows(&[3, 10])).await {
        let refused = done.unwrap_err();
        assert!(refused.message().contains("42501"), "{refused}");
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "4");
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let append = json!({"table": "t", "append": {}});
    let plan = client.plan(&[("id", ids)], append.clone()).await.unwrap();
    let warning = plan["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("rows are staged, and the policies apply when they are"),
        "{plan}"
    );
    let mut direct = append;
    direct["append"]["publish"] = "PUBLISH_DIRECT".into();
    let refused = client
        .begin("direct", direct, &rows(&[1]))
        .await
        .unwrap_err();
    assert!(refused.message().contains("publish staged"), "{refused}");
    drop(server);
    database
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
}

#[tokio::test]
async fn views_are_written_where_they_take_insert() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (id int, note text DEFAULT 'new');
             CREATE VIEW plain AS SELECT id FROM t WHERE id < 10 WITH CHECK OPTION;
             CREATE VIEW doubled AS SELECT id * 2 AS id FROM t;
             CREATE VIEW closed AS SELECT DISTINCT id FROM t;
             CREATE FUNCTION halve() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO t VALUES (NEW.id / 2, ''halved''); RETURN NEW; END';
             CREATE TRIGGER halve INSTEAD OF INSERT ON doubled FOR EACH ROW EXECUTE FUNCTION halve()",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for (view, expected) in [
        ("plain", "(4,new),(4,new)"),
        ("doubled", "(2,halved),(2,halved)"),
    ] {
        for done in both_ways(&mut client, view, &rows(&[4])).await {
            assert_eq!(done.unwrap()["rowCount"], "1");
        }
        assert_eq!(database.text("SELECT t::text FROM t").await, expected);
        database.execute("TRUNCATE t").await;
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let append = json!({"table": view, "append": {}});
        let plan = client.plan(&[("id", ids)], append.clone()).await.unwrap();
        assert!(
            plan["warnings"].to_string().contains("it is a view"),
            "{plan}"
        );
        for publish in ["PUBLISH_DIRECT", "PUBLISH_TWO_PHASE"] {
            let mut spec = append.clone();
            spec["append"]["publish"] = publish.into();
            let refused = client.begin(publish, spec, &rows(&[1])).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
        }
    }
    for done in both_ways(&mut client, "plain", &rows(&[1, 10])).await {
        let refused = done.unwrap_err();
        assert!(refused.message().contains("44000"), "{refused}");
    }
    for done in both_ways(&mut client, "closed", &rows(&[1])).await {
        let refused = done.unwrap_err();
        assert!(
            refused.message().contains("a view that takes no INSERT"),
            "{refused}"
        );
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    let mut overwrite = json!({"table": "plain", "overwrite": {}});
    let refused = client.begin("over", overwrite.clone(), &rows(&[1])).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
    assert!(
        refused.message().contains("overwrite with delete"),
        "{refused}"
    );
    overwrite["overwrite"]["with"] = "OVERWRITE_WITH_DELETE".into();
    let put = Put::whole(write(overwrite), &[rows(&[1])]);
    client.put(put).await.unwrap();
    assert_eq!(database.text("SELECT id FROM t").await, "1");
    let wider =
        json!({"table": "plain", "append": {"schemaEvolution": "SCHEMA_EVOLUTION_ADD_COLUMNS"}});
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let refused = client
        .begin("wider", wider, &batch(&[("id", ids.clone()), ("new", ids)]))
        .await;
    let refused = refused.unwrap_err();
    assert!(refused.message().contains("view"), "{refused}");
}
