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
