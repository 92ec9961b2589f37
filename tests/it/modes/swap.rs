//! Overwrite by swap: all rows are replaced, nothing else changes, and no session waits while they are written.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::{CallError, Client, Database, Pgflight, Put, attempt, batch, write};

async fn setup(sql: &str) -> (Database, Pgflight, Client) {
    let database = Database::new().await;
    database.execute(sql).await;
    let server = Pgflight::start(&database);
    let client = server.client().await;
    (database, server, client)
}

fn rows(ids: &[i32]) -> RecordBatch {
    let names: Vec<String> = ids.iter().map(|id| format!("n{id}")).collect();
    batch(&[
        ("id", Arc::new(Int32Array::from(ids.to_vec())) as ArrayRef),
        ("Name", Arc::new(StringArray::from(names))),
    ])
}

fn swap(table: &str) -> Value {
    json!({"table": table, "overwrite": {"with": "OVERWRITE_WITH_SWAP"}})
}

/// Overwrites by one stream, or by two attempts of which one is committed.
async fn overwrite(
    client: &mut Client,
    table: &str,
    rows: RecordBatch,
    write_id: Option<&str>,
) -> Result<(), Status> {
    let Some(id) = write_id else {
        let put = Put::whole(write(swap(table)), &[rows]);
        return client.put(put).await.map(drop);
    };
    client.begin(id, swap(table), &rows).await?;
    let cut = Put::whole(attempt(id, 0, "cut"), &[rows.slice(0, 1)]);
    client.put(cut).await?;
    let whole = Put::whole(attempt(id, 0, "whole"), &[rows]);
    let receipt = client.put(whole).await?;
    client.commit(id, &[receipt]).await.map(drop)
}

/// Reads everything about a table except its rows, by names.
const FACTS: &str = r#"
    WITH t AS (SELECT * FROM pg_class WHERE oid = '"T"'::regclass)
    SELECT fact FROM (
        SELECT 'table ' || relowner::regrole || ' ' || relreplident::text || ' ' || coalesce(reloptions::text, '')
               || coalesce(obj_description(oid), '') || (SELECT reloptions FROM pg_class WHERE oid = t.reltoastrelid)::text AS fact
        FROM t
      UNION ALL SELECT 'grant ' || grantee::regrole || ' ' || privilege_type || is_grantable FROM t, aclexplode(relacl)
      UNION ALL SELECT 'column ' || attname || format_type(atttypid, atttypmod) || attnotnull || attgenerated::text || attstorage::text
               || coalesce(attacl::text, '') || coalesce(attoptions::text, '') || coalesce(attstattarget, -1)
               || coalesce(col_description(a.attrelid, attnum), '') || coalesce(pg_get_expr(adbin, adrelid), '')
        FROM t JOIN pg_attribute a ON a.attrelid = t.oid LEFT JOIN pg_attrdef d ON adrelid = a.attrelid AND adnum = attnum
        WHERE attnum > 0 AND NOT attisdropped
      UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) || indisclustered || indisreplident
               || coalesce(obj_description(indexrelid, 'pg_class'), '')
        FROM t JOIN pg_index i ON i.indrelid = t.oid
      UNION ALL SELECT 'constraint ' || conname || contype::text || pg_get_constraintdef(c.oid)
               || coalesce(obj_description(c.oid, 'pg_constraint'), '')
        FROM t JOIN pg_constraint c ON c.conrelid = t.oid) facts
    ORDER BY fact"#;

#[tokio::test]
async fn a_swap_replaces_the_rows_and_nothing_else() {
    let database = Database::new().await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
    let reader = name.replace("pgflight_test", "pgflight_reader");
    database
        .execute(&format!(
            r#"CREATE ROLE {reader};
               ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO {reader};
               CREATE SEQUENCE numbers;
               CREATE TABLE "T" (
                   id int NOT NULL CONSTRAINT "The Key" PRIMARY KEY, dropped int,
                   "Name" text CONSTRAINT named CHECK ("Name" <> ''),
                   number bigint DEFAULT nextval('numbers'),
                   twice int GENERATED ALWAYS AS (id * 2) STORED,
                   CONSTRAINT once UNIQUE ("Name", id) INCLUDE (number) DEFERRABLE INITIALLY DEFERRED)
                   WITH (fillfactor = 70, toast.autovacuum_enabled = false);
               ALTER TABLE "T" DROP COLUMN dropped;
               CREATE INDEX "by USING name" ON "T" (lower("Name") DESC) WITH (fillfactor = 60) WHERE id > 0;
               CREATE UNIQUE INDEX replicated ON "T" (id);
               CREATE INDEX hashed ON "T" USING hash (number);
               ALTER TABLE "T" CLUSTER ON replicated;
               ALTER TABLE "T" REPLICA IDENTITY USING INDEX replicated;
               ALTER TABLE "T" ALTER number SET STATISTICS 7, ALTER number SET (n_distinct = -0.5),
                               ALTER "Name" SET STORAGE EXTERNAL;
               COMMENT ON TABLE "T" IS 'it''s'; COMMENT ON COLUMN "T".id IS 'key';
               COMMENT ON INDEX hashed IS 'quick'; COMMENT ON CONSTRAINT "The Key" ON "T" IS 'main';
               GRANT SELECT ON "T" TO {reader} WITH GRANT OPTION; GRANT UPDATE (number) ON "T" TO {reader};
               REVOKE DELETE ON "T" FROM {reader}; REVOKE TRUNCATE ON "T" FROM CURRENT_USER;
               INSERT INTO "T" (id, "Name") VALUES (7, 'old')"#
        ))
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let before = database.text(FACTS).await;
    for (write_id, ids) in [(None, [1, 2]), (Some("w"), [3, 4])] {
        let outcome = overwrite(&mut client, "\"T\"", rows(&ids), write_id).await;
        outcome.unwrap_or_else(|status| panic!("{write_id:?}: {status}"));
        let found = database
            .text(r#"SELECT id || "Name" || twice FROM "T" ORDER BY id"#)
            .await;
        let expected = ids.map(|id| format!("{id}n{id}{}", id * 2)).join(",");
        assert_eq!(found, expected, "{write_id:?}");
        assert_eq!(database.text(FACTS).await, before, "{write_id:?}");
    }
    let twins = r"SELECT relname FROM pg_class WHERE relname LIKE '\_pgflight\_%'";
    assert_eq!(database.text(twins).await, "");
    database
        .execute(&format!("DROP OWNED BY {reader}; DROP ROLE {reader}"))
        .await;
}

#[tokio::test]
async fn a_table_on_which_something_hangs_is_not_swapped() {
    let (database, _server, mut client) = setup("").await;
    let cases = [
        (
            "CREATE VIEW v AS SELECT id FROM t",
            "rule _RETURN on view public.v",
        ),
        (
            "CREATE TABLE r (id int REFERENCES t)",
            "constraint r_id_fkey on table public.r",
        ),
        (
            "ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES t",
            "constraint t_id_fkey on table public.t",
        ),
        (
            "ALTER TABLE t ADD EXCLUDE USING btree (id WITH =)",
            "constraint t_id_excl on table public.t",
        ),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER watched BEFORE INSERT ON t EXECUTE FUNCTION f()",
            "trigger watched on table public.t",
        ),
        ("CREATE POLICY p ON t", "policy p on table public.t"),
        (
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            "row-level security",
        ),
        ("CREATE PUBLICATION pub FOR TABLE t", "publication pub"),
        ("CREATE PUBLICATION pub FOR ALL TABLES", "publication pub"),
        (
            "CREATE PUBLICATION pub FOR TABLES IN SCHEMA public",
            "publication pub",
        ),
        (
            "CREATE TABLE whole (LIKE t) PARTITION BY RANGE (id);
             ALTER TABLE whole ATTACH PARTITION t FOR VALUES FROM (0) TO (10);
             CREATE PUBLICATION pub FOR TABLE whole",
            "publication pub",
        ),
        ("ALTER TABLE t ADD s serial", "sequence public.t_s_seq"),
        (
            "ALTER TABLE t ADD i int GENERATED ALWAYS AS IDENTITY",
            "sequence public.t_i_seq",
        ),
        (
            "CREATE TABLE child () INHERITS (t)",
            "takes part in inheritance",
        ),
        ("CREATE TABLE c (of_it t)", "column of_it of table public.c"),
        (
            "CREATE STATISTICS stats ON id, \"Name\" FROM t",
            "statistics object public.stats",
        ),
        (
            "CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING",
            "rule r on table public.t",
        ),
        ("ALTER TABLE t FORCE ROW LEVEL SECURITY", "forced"),
        (
            "CREATE INDEX whole ON t ((t IS NULL))",
            "index public.whole, which is on whole rows",
        ),
        (
            "CREATE INDEX e ON t (lower(\"Name\")); ALTER INDEX e ALTER COLUMN 1 SET STATISTICS 500",
            "index public.e, which has statistics targets",
        ),
        ("ALTER TABLE t SET UNLOGGED", "unlogged"),
        (
            "DO $$ BEGIN EXECUTE format('COMMENT ON TABLE t IS %L', repeat('x', 2000000)); END $$",
            "comments of more than 1 MiB",
        ),
        (
            "CREATE FUNCTION g() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM t; END",
            "function public.g()",
        ),
    ];
    let has_atomic = database
        .is_at_least(14, "a function with an SQL body")
        .await;
    let has_schemas = database.is_at_least(15, "a publication of a schema").await;
    for (sql, obstacle) in cases {
        if sql.contains("BEGIN ATOMIC") && !has_atomic || sql.contains("IN SCHEMA") && !has_schemas
        {
            continue;
        }
        database
            .execute(
                "DROP PUBLICATION IF EXISTS pub; DROP SCHEMA public CASCADE; CREATE SCHEMA public;
                 CREATE TABLE t (id int PRIMARY KEY, \"Name\" text); INSERT INTO t VALUES (7)",
            )
            .await;
        database.execute(sql).await;
        for write_id in [None, Some("w")] {
            let refused = overwrite(&mut client, "t", rows(&[1]), write_id)
                .await
                .expect_err(sql);
            assert_eq!(refused.code(), Code::Unimplemented, "{sql}: {refused}");
            assert!(refused.message().contains(obstacle), "{sql}: {refused}");
        }
        assert_eq!(database.text("SELECT id FROM t").await, "7", "{sql}");
    }
}

#[tokio::test]
async fn a_table_that_a_subscription_fills_is_not_swapped() {
    let publisher = Database::new().await;
    publisher
        .execute("CREATE TABLE t (id int, \"Name\" text); CREATE PUBLICATION pub FOR TABLE t")
        .await;
    let (database, _server, mut client) =
        setup("CREATE TABLE t (id int, \"Name\" text); INSERT INTO t VALUES (7)").await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
    // It reads the list of tables from the publisher, and never runs.
    let subscription = format!("sub_{name}");
    database
        .execute(&format!(
            "CREATE SUBSCRIPTION {subscription} CONNECTION '{}' PUBLICATION pub
             WITH (enabled = false, create_slot = false, slot_name = NONE, copy_data = false)",
            publisher.url
        ))
        .await;
    let mut outcomes = Vec::new();
    for write_id in [None, Some("w")] {
        outcomes.push(overwrite(&mut client, "t", rows(&[1]), write_id).await);
    }
    let found = database.text("SELECT id FROM t").await;
    // PostgreSQL keeps a database that has a subscription.
    let drop = format!("DROP SUBSCRIPTION {subscription}");
    database.execute(&drop).await;
    for outcome in outcomes {
        let refused = outcome.expect_err("the subscription would be lost");
        assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
        let obstacle = format!("subscription {subscription}");
        assert!(refused.message().contains(&obstacle), "{refused}");
    }
    assert_eq!(found, "7");
    let swapped = overwrite(&mut client, "t", rows(&[1]), None).await;
    swapped.expect("nothing hangs on it any more");
}

#[tokio::test]
async fn a_lock_on_another_published_table_stops_no_swap() {
    for publication in [
        "CREATE PUBLICATION pub FOR TABLE other",
        "CREATE PUBLICATION pub FOR TABLE other WITH (publish_via_partition_root)",
        "CREATE PUBLICATION pub FOR TABLES IN SCHEMA elsewhere",
        "CREATE PUBLICATION pub FOR ALL TABLES",
    ] {
        let (database, _server, mut client) = setup(
            "CREATE SCHEMA elsewhere; CREATE TABLE t (id int, \"Name\" text);
             CREATE TABLE elsewhere.one (id int);
             CREATE TABLE other (id int) PARTITION BY RANGE (id);
             CREATE TABLE part PARTITION OF other FOR VALUES FROM (0) TO (10)",
        )
        .await;
        if publication.contains("IN SCHEMA")
            && !database.is_at_least(15, "a publication of a schema").await
        {
            continue;
        }
        database.execute(publication).await;
        let other = Database::connect(&database.url).await;
        other
            .batch_execute("BEGIN; LOCK TABLE other, elsewhere.one")
            .await
            .unwrap();
        for write_id in [None, Some("w")] {
            let outcome = overwrite(&mut client, "t", rows(&[1]), write_id).await;
            if publication.contains("ALL TABLES") {
                let refused = outcome.expect_err(publication);
                assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
            } else {
                outcome.unwrap_or_else(|status| panic!("{publication}: {status}"));
            }
        }
    }
}

#[tokio::test]
async fn a_swap_that_fails_at_the_commit_leaves_the_old_table() {
    let cases: [(&str, &[i32], Code, &str); 7] = [
        (
            "SELECT",
            &[1, 1],
            Code::InvalidArgument,
            "a duplicate key violates a unique constraint [table public.t, constraint t_pkey",
        ),
        (
            "ALTER TABLE t ADD more int",
            &[1],
            Code::FailedPrecondition,
            "was changed",
        ),
        (
            "ALTER TABLE t ALTER \"Name\" SET DEFAULT 'x'",
            &[1],
            Code::FailedPrecondition,
            "was changed",
        ),
        (
            "COMMENT ON COLUMN t.id IS 'new'",
            &[1],
            Code::FailedPrecondition,
            "was changed",
        ),
        (
            "ALTER TABLE t SET (fillfactor = 50)",
            &[1],
            Code::FailedPrecondition,
            "was changed",
        ),
        (
            "ALTER TABLE t ADD CHECK (id > 0)",
            &[1],
            Code::FailedPrecondition,
            "was changed",
        ),
        (
            "CREATE VIEW v AS SELECT id FROM t",
            &[1],
            Code::Unimplemented,
            "on view public.v",
        ),
    ];
    for (sql, ids, code, part) in cases {
        let (database, _server, mut client) =
            setup("CREATE TABLE t (id int PRIMARY KEY, \"Name\" text); INSERT INTO t VALUES (7)")
                .await;
        client.begin("w", swap("t"), &rows(&[])).await.unwrap();
        let put = Put::whole(attempt("w", 0, "a"), &[rows(ids)]);
        let receipt = client.put(put).await.unwrap();
        database.execute(sql).await;
        let refused = client.commit("w", &[receipt]).await.expect_err(sql);
        assert_eq!(refused.code(), code, "{sql}: {refused}");
        assert!(refused.message().contains(part), "{sql}: {refused}");
        client.abort("w").await.unwrap();
        assert_eq!(database.text("SELECT id FROM t").await, "7", "{sql}");
        let twins = r"SELECT relname FROM pg_class WHERE relname LIKE '\_pgflight\_%'";
        assert_eq!(database.text(twins).await, "", "{sql}");
    }
}

#[tokio::test]
async fn a_check_violation_names_the_target_and_not_its_twin() {
    let (database, _server, mut client) =
        setup("CREATE TABLE t (id int CHECK (id < 10), \"Name\" text)").await;
    client.begin("w", swap("t"), &rows(&[])).await.unwrap();
    let by_attempt = Put::whole(attempt("w", 0, "a"), &[rows(&[1, 10])]);
    let in_one_go = Put::whole(write(swap("t")), &[rows(&[1, 10])]);
    for put in [by_attempt, in_one_go] {
        let error = CallError::from(client.put(put).await.unwrap_err());
        assert_eq!(error.reason, "DATA_REJECTED", "{}", error.message);
        assert_eq!(error.details["constraint"], "t_id_check");
        assert!(!error.message.contains("_pgflight_"), "{}", error.message);
        assert_eq!(error.details["table"], "public.t");
        assert_eq!(error.details["row"], "1");
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn rows_of_others_in_the_shadow_table_are_not_published() {
    for spec in [swap("t"), json!({"table": "new", "create": {}})] {
        let (database, _server, mut client) = setup("CREATE TABLE t (id int, \"Name\" text)").await;
        client.begin("w", spec.clone(), &rows(&[])).await.unwrap();
        let put = Put::whole(attempt("w", 0, "a"), &[rows(&[1, 2])]);
        let receipt = client.put(put).await.unwrap();
        let making = "SELECT staging_name FROM pgflight.write";
        let making = database.text(making).await;
        database
            .execute(&format!("INSERT INTO {making} VALUES (3, 'theirs')"))
            .await;
        client.commit("w", &[receipt]).await.unwrap();
        let table = spec["table"].as_str().unwrap();
        assert_eq!(
            database
                .text(&format!("SELECT id FROM {table} ORDER BY id"))
                .await,
            "1,2",
            "{spec}"
        );
    }
}

#[tokio::test]
async fn an_index_that_is_made_meanwhile_is_on_the_new_table_too() {
    let (database, _server, mut client) = setup("CREATE TABLE t (id int, \"Name\" text)").await;
    client.begin("w", swap("t"), &rows(&[])).await.unwrap();
    let put = Put::whole(attempt("w", 0, "a"), &[rows(&[1])]);
    let receipt = client.put(put).await.unwrap();
    database.execute("CREATE INDEX late ON t (id)").await;
    client.commit("w", &[receipt]).await.unwrap();
    let indexes = "SELECT indexname FROM pg_indexes WHERE tablename = 't'";
    assert_eq!(database.text(indexes).await, "late");
}
