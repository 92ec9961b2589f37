//! No error holds the value of a cell, whatever PostgreSQL reports.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, ListArray, StringArray, StructArray};
use arrow::datatypes::Field;
use arrow::datatypes::Int32Type;
use serde_json::json;

use crate::support::{CallError, Client, Database, Pgflight, Put, attempt, batch, write};

const SECRET: &str = "s3cret";

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec!["1", value]))
}

fn assert_silent(error: &CallError, what: &str) {
    let details: Vec<&str> = error.details.values().map(String::as_str).collect();
    let all = format!("{} {}", error.message, details.join(" "));
    for part in [SECRET, "日", "0x", "e6", "\\u65e5"] {
        assert!(!all.contains(part), "{what}: {all}");
    }
}

/// Writes one stream into `t`, and returns the error.
async fn refused(client: &mut Client, column: &str, array: ArrayRef) -> CallError {
    let spec = json!({"table": "t", "append": {}});
    let put = Put::whole(write(spec), &[batch(&[(column, array)])]);
    CallError::from(client.put(put).await.expect_err(column))
}

#[tokio::test]
async fn characters_that_latin1_lacks_are_reported_by_place() {
    let database = Database::encoded("LATIN1").await;
    database
        .execute(
            "CREATE TYPE pair AS (a int, b text);
             CREATE TABLE t (s text, v varchar(9), n name, j json, jb jsonb, a text[], p pair, c tsvector)",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let bad = "s3cret日";
    let document = format!("\"{bad}\"");
    let list: ArrayRef = {
        let item = Arc::new(Field::new("item", text("").data_type().clone(), true));
        let offsets = arrow::buffer::OffsetBuffer::from_repeated_length(1, 2);
        Arc::new(ListArray::new(item, offsets, text(bad), None))
    };
    let pair: ArrayRef = {
        let field = |name: &str, array: &ArrayRef| {
            Arc::new(Field::new(name, array.data_type().clone(), true))
        };
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let words = text(bad);
        let fields = vec![(field("a", &numbers), numbers), (field("b", &words), words)];
        Arc::new(StructArray::from(fields))
    };
    for (column, array) in [
        ("s", text(bad)),
        ("v", text(bad)),
        ("n", text(bad)),
        ("j", text(&document)),
        ("jb", text(&document)),
        ("a", list),
        ("p", pair),
        ("c", text(bad)),
    ] {
        let error = refused(&mut client, column, array).await;
        assert_silent(&error, column);
        assert_eq!(error.reason, "DATA_REJECTED", "{column}: {}", error.message);
        assert_eq!(error.details["sqlstate"], "22P05", "{column}");
        assert!(error.message.contains("LATIN1 lacks"), "{}", error.message);
        // Text that PostgreSQL casts is in a staging table, which has another name and the same column.
        assert_eq!(error.details["row"], "1", "{column}: {}", error.message);
        assert_eq!(error.details["column"], column);
    }
    // Text that LATIN1 can hold is written.
    let put = Put::bare(crate::support::path(&["t"]), &[batch(&[("s", text("é"))])]);
    client.put(put).await.unwrap();
    assert_eq!(database.text("SELECT max(ascii(s)) FROM t").await, "233");
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn an_attempt_reports_characters_that_latin1_lacks() {
    let database = Database::encoded("LATIN1").await;
    database.execute("CREATE TABLE t (s text)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = batch(&[("s", text("s3cret日"))]);
    for publish in ["PUBLISH_STAGED", "PUBLISH_DIRECT"] {
        let spec = json!({"table": "t", "append": {"publish": publish}});
        client.begin(publish, spec, &rows).await.unwrap();
        let put = Put::whole(attempt(publish, 0, "a"), std::slice::from_ref(&rows));
        let error = CallError::from(client.put(put).await.unwrap_err());
        assert_silent(&error, publish);
        assert_eq!(
            ["row", "column"].map(|name| error.details[name].as_str()),
            ["1", "s"],
            "{publish}: {}",
            error.message
        );
    }
}

#[tokio::test]
async fn text_in_a_database_of_sql_ascii_lands_byte_by_byte() {
    let database = Database::encoded("SQL_ASCII").await;
    database
        .execute("CREATE TABLE t (s text, v varchar(3), n int)")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let put = Put::bare(crate::support::path(&["t"]), &[batch(&[("s", text("日"))])]);
    client.put(put).await.unwrap();
    let bytes = "SELECT encode(max(s)::bytea, 'hex') FROM t";
    assert_eq!(database.text(bytes).await, "e697a5");
    for (column, value) in [("v", "s3cret日"), ("n", "s3cret日")] {
        let error = refused(&mut client, column, text(value)).await;
        assert_silent(&error, column);
    }
}

#[tokio::test]
async fn errors_of_types_and_triggers_hold_no_value() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TYPE mood AS ENUM ('sad', 'ok');
             CREATE DOMAIN word AS text CHECK (length(VALUE) < 3);
             CREATE TABLE other (s text PRIMARY KEY);
             CREATE TABLE t (
                id int GENERATED ALWAYS AS IDENTITY, asked text, s text,
                m mood, p jsonpath, ts tsquery, tv tsvector, r regclass, ty regtype, ra int4range, po point,
                mo money, d date, w word, f text REFERENCES other DEFERRABLE,
                u text UNIQUE, x text, c text CHECK (c < 'b'),
                g int GENERATED ALWAYS AS (length(s)) STORED,
                CONSTRAINT t_x_apart EXCLUDE USING gist (int4range(length(x), NULL) WITH &&));
             CREATE FUNCTION asked() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE ignored text;
             BEGIN
                IF NEW.s = '1' THEN RETURN NEW; END IF;
                CASE TG_ARGV[0]
                WHEN 'int' THEN ignored := NEW.s::int;
                WHEN 'regclass' THEN ignored := NEW.s::regclass;
                WHEN 'regtype' THEN ignored := NEW.s::regtype;
                WHEN 'bit' THEN ignored := NEW.s::bit(8);
                WHEN 'range' THEN ignored := NEW.s::int4range;
                WHEN 'zone' THEN ignored := now() AT TIME ZONE NEW.s;
                WHEN 'date' THEN ignored := to_date(NEW.s, 'Month');
                WHEN 'tsquery' THEN ignored := (NEW.s || ' & &')::tsquery;
                WHEN 'path' THEN ignored := (NEW.s || ' ((')::jsonpath;
                WHEN 'dynamic' THEN EXECUTE 'SELECT ' || NEW.s INTO ignored;
                WHEN 'syntax' THEN EXECUTE 'SELECT ''' || NEW.s INTO ignored;
                WHEN 'function' THEN EXECUTE format('SELECT %I()', NEW.s) INTO ignored;
                WHEN 'json' THEN ignored := ('{' || NEW.s)::jsonb;
                WHEN 'unit' THEN ignored := date_part(NEW.s, now());
                WHEN 'hex' THEN ignored := decode(NEW.s, 'hex');
                WHEN 'encoding' THEN ignored := convert_from(NEW.s::bytea || '\\xff', 'UTF8');
                WHEN 'setting' THEN ignored := current_setting(NEW.s);
                WHEN 'array' THEN ignored := NEW.s::int[];
                WHEN 'detail' THEN RAISE EXCEPTION 'too large' USING DETAIL = NEW.s, HINT = NEW.s,
                    ERRCODE = 'check_violation';
                WHEN 'class22' THEN RAISE EXCEPTION 'no %', NEW.s USING ERRCODE = '22000';
                END CASE;
                RETURN NEW;
             END $$",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let long = format!("{SECRET}{}", "x".repeat(3000));
    let cases: Vec<(&str, String)> = vec![
        ("m", SECRET.into()),
        ("p", format!("{SECRET} ((")),
        ("p", format!("$.a like_regex \"{SECRET}(\"")),
        ("ts", format!("{SECRET} & & x")),
        ("ts", long.clone()),
        ("tv", format!("{SECRET}:1x")),
        ("tv", long.clone()),
        ("r", SECRET.into()),
        ("r", format!("a.b.c.{SECRET}")),
        ("ty", SECRET.into()),
        ("ty", format!("{SECRET}[[")),
        ("ra", format!("[{SECRET},2]")),
        ("po", SECRET.into()),
        ("d", SECRET.into()),
        ("w", SECRET.into()),
        ("f", SECRET.into()),
        ("c", SECRET.into()),
    ];
    for (column, value) in cases {
        let spec = json!({"table": "t", "append": {}});
        let rows = batch(&[(column, Arc::new(StringArray::from(vec![value.as_str()])))]);
        let status = client.put(Put::whole(write(spec), &[rows])).await;
        let error = CallError::from(status.expect_err(column));
        assert_silent(&error, &format!("{column} {value}"));
        assert_eq!(error.reason, "DATA_REJECTED", "{column}: {}", error.message);
    }
    for column in ["u", "x"] {
        let two: ArrayRef = Arc::new(StringArray::from(vec![SECRET, SECRET]));
        let error = refused(&mut client, column, two).await;
        assert_silent(&error, column);
        assert!(
            error.message.contains(&format!("t_{column}_")),
            "{}",
            error.message
        );
    }
    for asked in [
        "int", "regclass", "regtype", "bit", "range", "zone", "date", "tsquery", "path", "dynamic",
        "syntax", "function", "json", "unit", "hex", "encoding", "setting", "array", "detail",
        "class22",
    ] {
        database
            .execute(&format!(
                "DROP TRIGGER IF EXISTS asked ON t; CREATE TRIGGER asked BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION asked('{asked}')"
            ))
            .await;
        let error = refused(&mut client, "s", text(SECRET)).await;
        assert_silent(&error, asked);
        // Through a staging table, for which PostgreSQL reports no row.
        let keys = text("7");
        let spec = json!({"table": "t", "insertIfAbsent": {"keys": ["u"]}});
        let rows = batch(&[("u", keys), ("s", text(SECRET))]);
        let status = client.put(Put::whole(write(spec), &[rows])).await;
        assert_silent(&CallError::from(status.expect_err(asked)), asked);
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    server.assert_unharmed("all of it").await;
}

/// Statements of a trigger that make a name of a value, with a part of the error that is left.
const NAMED_BY_VALUES: [(&str, &str); 21] = [
    ("PERFORM pg_read_file(NEW.s)", "could not"),
    ("PERFORM pg_ls_dir(NEW.s)", "could not open directory"),
    ("PERFORM pg_stat_file(NEW.s)", "No such file or directory"),
    ("PERFORM lo_import('/' || NEW.s)", "could not open server file"),
    ("EXECUTE format('LOAD %L', NEW.s)", "No such file or directory"),
    (
        "EXECUTE format('CREATE TABLE tmp_%s (a int)', NEW.s);
         EXECUTE format('CREATE VIEW v_%1$s AS SELECT * FROM tmp_%1$s', NEW.s);
         EXECUTE format('DROP TABLE tmp_%s', NEW.s)",
        "drops an object that others depend on",
    ),
    (
        "EXECUTE format('CREATE TABLE tmp_%s (a int PRIMARY KEY)', NEW.s);
         EXECUTE format('INSERT INTO tmp_%s VALUES (1), (1)', NEW.s)",
        "a duplicate key violates a unique constraint",
    ),
    (
        "EXECUTE format('CREATE TABLE tmp_%s (%1$s int NOT NULL)', NEW.s);
         EXECUTE format('INSERT INTO tmp_%s VALUES (NULL)', NEW.s)",
        "a value is NULL",
    ),
    (
        "EXECUTE format('CREATE TABLE tmp_%s (a int CONSTRAINT %1$s CHECK (a > 0))', NEW.s);
         EXECUTE format('INSERT INTO tmp_%s VALUES (0)', NEW.s)",
        "a row violates a check constraint",
    ),
    (
        "EXECUTE format('CREATE TABLE tmp_%s (a int PRIMARY KEY)', NEW.s);
         EXECUTE format('CREATE TABLE r_%1$s (a int REFERENCES tmp_%1$s ON DELETE RESTRICT)', NEW.s);
         EXECUTE format('INSERT INTO tmp_%1$s VALUES (1); INSERT INTO r_%1$s VALUES (1);
                         DELETE FROM tmp_%1$s', NEW.s)",
        "a row violates a foreign key",
    ),
    (
        "EXECUTE format('CREATE TABLE tmp_%s (a int) PARTITION BY LIST (a)', NEW.s);
         EXECUTE format('INSERT INTO tmp_%s VALUES (1)', NEW.s)",
        "no partition of relation",
    ),
    (
        "EXECUTE format('CREATE VIEW tmp_%s AS SELECT 1 AS a WHERE false', NEW.s);
         EXECUTE format('INSERT INTO tmp_%s VALUES (1)', NEW.s)",
        "cannot insert into view",
    ),
    (
        "EXECUTE format('CREATE TABLE tmp_%s (a int)', NEW.s);
         EXECUTE format('CREATE VIEW v_%1$s AS SELECT * FROM tmp_%1$s WHERE a > 1 WITH CHECK OPTION', NEW.s);
         EXECUTE format('INSERT INTO v_%s VALUES (1)', NEW.s)",
        "new row violates check option",
    ),
    (
        "EXECUTE format('CREATE TABLE tmp_%s (a int)', NEW.s);
         EXECUTE format('REVOKE ALL ON tmp_%s FROM CURRENT_USER', NEW.s);
         EXECUTE format('SELECT 1 FROM tmp_%s', NEW.s)",
        "lacks a permission",
    ),
    ("EXECUTE format('DROP TABLE theirs_%s', NEW.s)", "lacks a permission"),
    ("EXECUTE format('CLOSE %I', NEW.s)", "cursor … does not exist"),
    ("EXECUTE format('SET ROLE %I', NEW.s)", "PostgreSQL"),
    ("EXECUTE format('SET SESSION AUTHORIZATION %I', NEW.s)", "PostgreSQL"),
    ("EXECUTE format('CREATE SCHEMA a; CREATE SCHEMA %I', 'pg_' || NEW.s)", "PostgreSQL"),
    ("PERFORM pg_notify(NEW.s, repeat('x', 9000))", "a value is not allowed"),
    ("EXECUTE format('ALTER SYSTEM SET %I = 1', NEW.s)", "PostgreSQL"),
];

#[tokio::test]
async fn names_that_code_makes_of_values_are_in_no_error_and_no_log() {
    let database = Database::new().await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
    // Files are read as a superuser, and permissions are denied to others.
    let owner = name.replace("pgflight_test", "pgflight_owner");
    database
        .execute(&format!(
            "CREATE ROLE {owner}; GRANT ALL ON DATABASE {name} TO {owner}; GRANT ALL ON SCHEMA public TO {owner};
             CREATE TABLE t (u text UNIQUE, s text);
             CREATE TABLE theirs_{SECRET} (a int)"
        ))
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for (statements, expected) in NAMED_BY_VALUES {
        let role = match expected {
            "lacks a permission" => owner.as_str(),
            _ => "CURRENT_USER",
        };
        database
            .execute(&format!(
                "DROP FUNCTION IF EXISTS named CASCADE;
                 CREATE FUNCTION named() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
                 BEGIN IF NEW.s <> '1' THEN {statements}; END IF; RETURN NEW; END $$;
                 ALTER FUNCTION named OWNER TO {role};
                 CREATE TRIGGER named BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION named()"
            ))
            .await;
        let copied = refused(&mut client, "s", text(SECRET)).await;
        // By way of a staging table, where PostgreSQL reports no row.
        let spec = json!({"table": "t", "insertIfAbsent": {"keys": ["u"]}});
        let rows = batch(&[("u", text("7")), ("s", text(SECRET))]);
        let merged = client.put(Put::whole(write(spec), &[rows])).await;
        for error in [copied, CallError::from(merged.expect_err(statements))] {
            assert_silent(&error, statements);
            assert!(
                error.message.contains(expected),
                "{statements}: {}",
                error.message
            );
            assert_eq!(error.details.get("constraint"), None, "{statements}");
        }
    }
    server.assert_unharmed("all of it").await;
    let log = server.log();
    let line = log.iter().find(|line| line.contains(SECRET));
    assert_eq!(line, None);
    database
        .execute(&format!("DROP OWNED BY {owner}; DROP ROLE {owner}"))
        .await;
}

#[tokio::test]
async fn names_of_the_target_and_its_partitions_stay_in_errors() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (n int) PARTITION BY RANGE (n);
             CREATE TABLE low PARTITION OF t (CONSTRAINT small CHECK (n <> 1)) FOR VALUES FROM (0) TO (5);
             CREATE UNIQUE INDEX once ON low (n)",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for (numbers, words, table, constraint) in [
        (
            vec![1],
            "violates a check constraint",
            "public.low",
            Some("small"),
        ),
        (vec![2, 2], "a duplicate key", "public.low", Some("once")),
        (
            vec![9],
            "no partition of relation … found for row",
            "public.t",
            None,
        ),
    ] {
        let numbers = arrow::array::PrimitiveArray::<Int32Type>::from(numbers);
        let error = refused(&mut client, "n", Arc::new(numbers)).await;
        assert!(error.message.contains(words), "{}", error.message);
        assert_eq!(error.details["table"], table, "{}", error.message);
        let found = error.details.get("constraint").map(String::as_str);
        assert_eq!(found, constraint, "{}", error.message);
    }
}

#[tokio::test]
async fn errors_raised_by_the_owners_function_are_passed_on() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (n int);
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                IF NEW.n = 1 THEN RAISE EXCEPTION 'only \"large\" trips: see the wiki'; END IF;
                IF NEW.n = 2 THEN RAISE EXCEPTION 'second: no' USING ERRCODE = 'U0002'; END IF;
                IF NEW.n = 3 THEN RAISE EXCEPTION 'third: no' USING ERRCODE = 'check_violation'; END IF;
                RETURN NEW;
             END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for (number, words) in [
        (1, "only \"large\" trips: see the wiki"),
        (2, "second: no"),
        (3, "third: no"),
    ] {
        let numbers = arrow::array::PrimitiveArray::<Int32Type>::from(vec![number]);
        let error = refused(&mut client, "n", Arc::new(numbers)).await;
        assert!(error.message.contains(words), "{}", error.message);
    }
}
