//! The advice in errors: each is followed here, and the write then succeeds.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use serde_json::{Value, json};

use crate::support::{CallError, Client, Database, Pgflight, Put, attempt, batch, write};

fn rows() -> RecordBatch {
    let id = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let name = Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef;
    batch(&[("id", id), ("s", name)])
}

/// A server whose login may do nothing but what `grants` allows it. `LOGIN` in SQL is that role.
struct World {
    database: Database,
    login: String,
    server: Pgflight,
}

impl World {
    async fn new(sql: &str, options: &[&str]) -> Self {
        let database = Database::new().await;
        let name = database.text("SELECT current_database()").await;
        let login = format!("{name}_login");
        let roles =
            format!("CREATE ROLE {login} LOGIN; GRANT CREATE ON DATABASE {name} TO {login}");
        database.execute(&roles).await;
        database.execute(&sql.replace("LOGIN", &login)).await;
        let server = Pgflight::start_at(&database.url_as(&login), options);
        Self {
            database,
            login,
            server,
        }
    }

    async fn execute(&self, sql: &str) {
        self.database
            .execute(&sql.replace("LOGIN", &self.login))
            .await;
    }

    async fn put(&self, spec: &Value) -> Result<Value, CallError> {
        let put = Put::whole(write(spec.clone()), &[rows()]);
        self.client().await.put(put).await.map_err(CallError::from)
    }

    async fn put_staged(&self, spec: &Value) -> Result<Value, CallError> {
        let mut client = self.client().await;
        let begun = client.begin("w", spec.clone(), &rows()).await;
        begun.map_err(CallError::from)?;
        let put = client
            .put(Put::whole(attempt("w", 0, "a"), &[rows()]))
            .await;
        let receipt = put.map_err(CallError::from)?;
        let committed = client.commit("w", &[receipt]).await;
        committed.map_err(CallError::from)
    }

    async fn client(&self) -> Client {
        self.server.client().await
    }

    async fn forget(self) {
        drop(self.server);
        let login = &self.login;
        let sql = format!("DROP OWNED BY {login} CASCADE; DROP ROLE {login}");
        self.database.execute(&sql).await;
    }
}

struct Case {
    name: &'static str,
    table: &'static str,
    spec: Value,
    reason: &'static str,
    sqlstate: &'static str,
    message: &'static str,
    hint: &'static str,
    /// What the hint says.
    fix: &'static str,
}

async fn check(case: Case) {
    let name = case.name;
    let world = World::new(case.table, &["--lock-timeout", "1s"]).await;
    let refused = world.put(&case.spec).await.expect_err(name);
    let hint = refused.details.get("hint").map_or("", String::as_str);
    assert_eq!(refused.reason, case.reason, "{name}: {}", refused.message);
    assert_eq!(refused.details["sqlstate"], case.sqlstate, "{name}");
    assert!(
        refused.message.contains(case.message),
        "{name}: {}",
        refused.message
    );
    let expected = case.hint.replace("LOGIN", &world.login);
    assert!(hint.contains(&expected), "{name}: {hint}");
    world.execute(case.fix).await;
    if let Err(error) = world.put(&case.spec).await {
        panic!("{name}: {} after the advice was followed", error.message);
    }
    world.forget().await;
}

fn append(table: &str) -> Value {
    json!({"table": table, "append": {}})
}

#[tokio::test]
async fn a_missing_privilege_is_named_with_the_grant_that_gives_it() {
    for case in [
        Case {
            name: "USAGE of a schema",
            table: "CREATE SCHEMA other; CREATE TABLE other.t (id int8, s text); GRANT INSERT ON other.t TO LOGIN",
            spec: append("other.t"),
            reason: "PERMISSION_DENIED",
            sqlstate: "42501",
            message: "permission denied for schema other",
            hint: "GRANT USAGE ON SCHEMA other TO LOGIN;",
            fix: "GRANT USAGE ON SCHEMA other TO LOGIN",
        },
        Case {
            name: "CREATE in a schema whose name needs quotes",
            table: "CREATE SCHEMA \"my Own\"",
            spec: json!({"table": "\"my Own\".t", "create": {}}),
            reason: "PERMISSION_DENIED",
            sqlstate: "42501",
            message: "permission denied for schema my Own",
            hint: "GRANT USAGE, CREATE ON SCHEMA \"my Own\" TO LOGIN;",
            fix: "GRANT USAGE, CREATE ON SCHEMA \"my Own\" TO LOGIN",
        },
        Case {
            name: "USAGE of the sequence of a default",
            table: "CREATE TABLE t (id int8, s text, n serial); GRANT INSERT ON t TO LOGIN",
            spec: append("public.t"),
            reason: "PERMISSION_DENIED",
            sqlstate: "42501",
            message: "permission denied for sequence t_n_seq",
            hint: "GRANT USAGE ON SEQUENCE t_n_seq TO LOGIN;",
            fix: "GRANT USAGE ON SEQUENCE t_n_seq TO LOGIN",
        },
        Case {
            name: "INSERT into the table",
            table: "CREATE TABLE t (id int8, s text)",
            spec: append("public.t"),
            reason: "PERMISSION_DENIED",
            sqlstate: "42501",
            message: "lacks the privilege INSERT on the table",
            hint: "GRANT INSERT ON public.t TO LOGIN;",
            fix: "GRANT INSERT ON public.t TO LOGIN",
        },
        Case {
            name: "INSERT into one of the columns",
            table: "CREATE TABLE t (id int8, s text); GRANT INSERT (id) ON t TO LOGIN",
            spec: append("public.t"),
            reason: "PERMISSION_DENIED",
            sqlstate: "42501",
            message: "permission denied for table t",
            hint: "GRANT INSERT (id, s) ON public.t TO LOGIN;",
            fix: "GRANT INSERT (id, s) ON t TO LOGIN",
        },
    ] {
        check(case).await;
    }
}

#[tokio::test]
async fn an_error_of_postgresql_says_what_to_do_about_it() {
    for case in [
        Case {
            name: "a table that another session has locked",
            table: "CREATE TABLE t (id int8, s text); GRANT INSERT ON t TO LOGIN; COMMIT; BEGIN; LOCK TABLE t",
            spec: append("public.t"),
            reason: "UNAVAILABLE",
            sqlstate: "55P03",
            message: "another session has locked the table",
            hint: "its pid is in pg_locks, where relation is 'public.t'::regclass",
            fix: "ROLLBACK",
        },
        Case {
            name: "a code of a trigger's own",
            table: "CREATE FUNCTION shut() RETURNS trigger LANGUAGE plpgsql AS
                        $$BEGIN RAISE 'not on sundays' USING ERRCODE = 'PX001'; END$$;
                    CREATE TABLE t (id int8, s text); GRANT INSERT ON t TO LOGIN;
                    CREATE TRIGGER shut BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION shut()",
            spec: append("public.t"),
            reason: "DATA_REJECTED",
            sqlstate: "PX001",
            message: "not on sundays",
            hint: "a trigger, a default or a check of the table raised it",
            fix: "DROP TRIGGER shut ON t",
        },
        Case {
            name: "a code of PostgreSQL that a trigger raises",
            table: "CREATE FUNCTION shut() RETURNS trigger LANGUAGE plpgsql AS
                        $$BEGIN RAISE 'no such day' USING ERRCODE = 'no_data_found'; END$$;
                    CREATE TABLE t (id int8, s text); GRANT INSERT ON t TO LOGIN;
                    CREATE TRIGGER shut BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION shut()",
            spec: append("public.t"),
            reason: "DATA_REJECTED",
            sqlstate: "P0002",
            message: "no such day",
            hint: "a trigger, a default or a check of the table raised it",
            fix: "DROP TRIGGER shut ON t",
        },
        Case {
            name: "updates of a published table whose rows nothing identifies",
            table: "CREATE TABLE t (id int8 UNIQUE NOT NULL, s text); INSERT INTO t VALUES (1, 'x');
                    GRANT SELECT, INSERT, UPDATE ON t TO LOGIN; CREATE PUBLICATION p FOR TABLE t",
            spec: json!({"table": "public.t", "upsert": {"keys": ["id"]}}),
            reason: "UNSUPPORTED",
            sqlstate: "55000",
            message: "replica identity",
            hint: "give the table a REPLICA IDENTITY",
            fix: "ALTER TABLE t REPLICA IDENTITY FULL",
        },
    ] {
        check(case).await;
    }
}

#[tokio::test]
async fn a_constraint_is_not_taken_for_code_of_the_table() {
    for (definition, sqlstate) in [
        ("id int8 CHECK (id > 5), s text", "23514"),
        ("id int8, s text UNIQUE", "23505"),
    ] {
        let sql = format!(
            "CREATE TABLE t ({definition}); INSERT INTO t VALUES (9, 'a'); GRANT INSERT ON t TO LOGIN"
        );
        let world = World::new(&sql, &[]).await;
        let refused = world.put(&append("public.t")).await.unwrap_err();
        assert_eq!(refused.details["sqlstate"], sqlstate, "{}", refused.message);
        assert_eq!(refused.details.get("hint"), None, "{sqlstate}");
        world.forget().await;
    }
}

#[tokio::test]
async fn a_timeout_of_the_login_is_no_reason_to_try_again() {
    let sql = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                   $$BEGIN PERFORM pg_sleep(3); RETURN NULL; END$$;
               CREATE TABLE t (id int8, s text); GRANT INSERT ON t TO LOGIN;
               CREATE TRIGGER slow AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION slow();
               ALTER ROLE LOGIN SET statement_timeout = '500ms'";
    let world = World::new(sql, &[]).await;
    let refused = world.put(&append("public.t")).await.unwrap_err();
    assert_eq!(refused.reason, "TIMEOUT", "{}", refused.message);
    assert_eq!(refused.details["sqlstate"], "57014");
    assert_eq!(refused.details["retryable"], "false");
    assert!(refused.details["hint"].contains("raise statement_timeout of the server's login"));
    world.forget().await;
}

#[tokio::test]
async fn a_row_that_is_too_big_is_not_taken_for_another() {
    let columns: Vec<String> = (0..1_200)
        .map(|number| format!("c{number} int8 DEFAULT 1"))
        .collect();
    let sql = format!(
        "CREATE TABLE t (id int8, s text, {}); GRANT INSERT ON t TO LOGIN",
        columns.join(", ")
    );
    let world = World::new(&sql, &[]).await;
    let refused = world.put(&append("public.t")).await.unwrap_err();
    assert_eq!(refused.reason, "DATA_REJECTED", "{}", refused.message);
    assert_eq!(refused.details["sqlstate"], "54000");
    assert_eq!(refused.details.get("row"), None);
    assert!(refused.details["hint"].contains("a page of 8 KiB"));
    world.forget().await;
}

#[tokio::test]
async fn privileges_on_the_columns_suffice() {
    let sql = "CREATE TABLE t (id int8, s text, more text DEFAULT 'd'); CREATE TABLE k (id int8 PRIMARY KEY, s text);
               GRANT INSERT (id, s) ON t TO LOGIN;
               GRANT SELECT (id, s), INSERT (id, s), UPDATE (s) ON k TO LOGIN;
               CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                   $$BEGIN INSERT INTO runs VALUES (1); RETURN NULL; END$$;
               CREATE TABLE runs (n int8);
               CREATE TRIGGER once AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION count_it()";
    let world = World::new(sql, &[]).await;
    let upsert = json!({"table": "public.k", "upsert": {"keys": ["id"]}});
    let staged = json!({"table": "public.t", "append": {"publish": "PUBLISH_STAGED"}});
    world.put(&append("public.t")).await.unwrap();
    assert_eq!(
        world.database.text("SELECT count(*) FROM runs").await,
        "1",
        "the lock runs no trigger"
    );
    world.put_staged(&staged).await.unwrap();
    world.put(&upsert).await.unwrap();
    world.put(&upsert).await.unwrap();
    assert_eq!(
        world
            .database
            .text("SELECT count(*) || '|' || min(more) FROM t")
            .await,
        "4|d"
    );
    assert_eq!(world.database.text("SELECT count(*) FROM k").await, "2");
    world.forget().await;
}
