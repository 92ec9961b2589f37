//! Every PostgreSQL type: the written value must equal PostgreSQL's own reading of the same text.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::array::{ListBuilder, StringBuilder};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use serde_json::{Value, json};

use crate::support::{Client, Database, Pgflight, Put, attempt, batch, write};

/// A type, and values of it as text.
pub(crate) type Case = (&'static str, &'static [&'static str]);

/// Types that we encode ourselves.
pub(crate) const ENCODED: &[Case] = &[
    ("boolean", &["t", "false", "Yes", "0"]),
    ("smallint", &["-32768", "32767", "+1"]),
    ("integer", &["-2147483648", " 7 "]),
    ("bigint", &["-9223372036854775808", "9223372036854775807"]),
    ("oid", &["0", "4294967295"]),
    ("xid", &["7"]),
    ("xid8", &["18446744073709551615"]),
    ("real", &["1.5", "-0", "1e-45", "NaN", "-inf", "16777217"]),
    (
        "double precision",
        &["0.1", "5e-324", "Infinity", "1e23", "9007199254740993"],
    ),
    (
        "numeric",
        &[
            "0.00",
            "-12.340",
            "1e-9",
            "1.5e7",
            "NaN",
            "99999999999999999999.99",
        ],
    ),
    // Another name of the type.
    ("decimal", &["-Infinity"]),
    ("numeric(10,2)", &["1.5", "-99999999.99", "1e3", "2.500"]),
    ("text", &["", "été", "a'b\"c\\d"]),
    ("varchar(5)", &["", "étéét", "ab   "]),
    ("char(3)", &["", "ab", "abc  "]),
    ("name", &["a", "pg_class"]),
    ("citext", &["Abc"]),
    ("xml", &["<a>é</a>"]),
    ("bytea", &["\\x", "\\x00Ff"]),
    ("json", &["{\"a\": [1, null]}", "null"]),
    ("jsonb", &["{\"a\": [1, null]}", "\"é\""]),
    ("jsonpath", &["$.a[*] ? (@ > 1)"]),
    ("ltree", &["top.science", ""]),
    ("lquery", &["*.science.*{1,2}"]),
    ("ltxtquery", &["science & !astro"]),
    ("uuid", &["{123E4567-e89b-12d3-a456-426614174000}"]),
    (
        "date",
        &[
            "2013-12-31",
            "0001-01-01",
            "99999-12-31",
            "infinity",
            "-infinity",
        ],
    ),
    ("time", &["00:00", "24:00:00", "23:59:59.999999"]),
    ("time(3)", &["12:30:00.125"]),
    ("timetz", &["12:30:00.25+02", "00:00Z", "23:59:59-15:59:59"]),
    (
        "timestamp",
        &[
            "2013-07-01T12:30:00.25",
            "2013-07-01",
            "0001-01-01 24:00:00",
            "infinity",
        ],
    ),
    ("timestamp(3)", &["2013-07-01T12:30:00.125"]),
    (
        "timestamptz",
        &[
            "2013-07-01T12:30:00.25+02:00",
            "2013-07-01Z",
            "-infinity",
            "1900-01-01 00:00:00-0530",
        ],
    ),
    ("bit(3)", &["101", "000"]),
    ("varbit", &["", "1", "101010101"]),
    ("varbit(5)", &["", "11111"]),
    (
        "inet",
        &[
            "192.168.0.1",
            "10.1.2.3/8",
            "::1",
            "2001:db8::/32",
            "::ffff:1.2.3.4",
        ],
    ),
    ("cidr", &["10.0.0.0/8", "::/0", "1.2.3.4"]),
    (
        "macaddr",
        &[
            "08:00:2b:01:02:03",
            "08002b010203",
            "0800.2b01.0203",
            "08-00-2B-01-02-03",
        ],
    ),
    (
        "macaddr8",
        &[
            "08:00:2b:01:02:03",
            "08002b0102030405",
            "0800.2b01.0203.0405",
        ],
    ),
    ("mood", &["ok", "so so"]),
];

/// Types that PostgreSQL casts on the way from a staging table.
pub(crate) const CAST: &[Case] = &[
    (
        "interval",
        &["1 year -2 days 03:04:05.6", "P1Y2M3DT4H", "-00:00:01"],
    ),
    ("pg_lsn", &["16/B374D848"]),
    ("tid", &["(3,4)"]),
    ("pg_snapshot", &["10:20:10,14,15"]),
    ("regclass", &["pg_class"]),
    ("regtype", &["integer"]),
    ("int2vector", &["1 2"]),
    ("point", &["(1.5,-2)"]),
    ("line", &["{1,2,3}"]),
    ("lseg", &["[(0,0),(1,1)]"]),
    ("box", &["(1,1),(0,0)"]),
    ("path", &["((0,0),(1,1))", "[(0,0),(1,1)]"]),
    ("polygon", &["((0,0),(1,1),(2,0))"]),
    ("circle", &["<(1,2),3>"]),
    ("tsvector", &["'a':1A 'b':2", "the quick"]),
    ("tsquery", &["a & !b"]),
    ("int4range", &["[1,5]", "empty", "(,)"]),
    ("int8range", &["(1,5]"]),
    ("numrange", &["[1.50,2.5)"]),
    ("tsrange", &["[2013-01-01,2013-01-02)"]),
    ("daterange", &["[2013-01-01,2013-01-02]"]),
    ("int4multirange", &["{[1,2],[5,7)}", "{}"]),
    ("nummultirange", &["{(,1],[2.0,)}"]),
    ("datemultirange", &["{[2013-01-01,2013-01-02]}"]),
    ("hstore", &["a=>1, b=>NULL", ""]),
    ("cube", &["(1,2),(3,4)"]),
    ("seg", &["1 .. 2"]),
    ("isbn", &["978-0-393-04002-9"]),
    ("pair", &["(1,\"a b\")", "(,)"]),
];

const SETUP: &str = "
    CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION cube;
    CREATE EXTENSION seg; CREATE EXTENSION isn;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'so so'); CREATE TYPE pair AS (id int, name text)";

/// A row for each value, and one of NULLs: by itself, through a domain, and as items of arrays.
fn rows(values: &[&str]) -> RecordBatch {
    let with_null = || values.iter().copied().map(Some).chain([None]);
    let mut lists = ListBuilder::new(StringBuilder::new());
    for value in with_null() {
        match value {
            Some(value) => lists.append_value([Some(value), None, Some(value)]),
            None => lists.append_null(),
        }
    }
    let texts: ArrayRef = Arc::new(with_null().collect::<StringArray>());
    let ids = (0..).take(values.len() + 1).collect::<Vec<i32>>();
    batch(&[
        ("id", Arc::new(Int32Array::from(ids)) as ArrayRef),
        ("plain", texts.clone()),
        ("domained", texts),
        ("items", Arc::new(lists.finish())),
    ])
}

/// Makes the table, and a second table with PostgreSQL's own reading of the text.
async fn prepare(database: &Database, ty: &str, values: &[&str]) {
    let literal = |value: &str| format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''"));
    let mut rows = values
        .iter()
        .enumerate()
        .map(|(id, value)| {
            let value = literal(value);
            format!("({id}, {value}::text, ARRAY[{value}, NULL, {value}]::text[])")
        })
        .collect::<Vec<_>>();
    rows.push(format!("({}, NULL, NULL)", values.len()));
    // INSERT, and not a cast, applies a modifier as strictly as COPY does.
    let bare = ty.split('(').next().unwrap();
    let bare = match bare {
        "bit" => "varbit",
        "char" => "text",
        bare => bare,
    };
    let columns = format!("id int PRIMARY KEY, plain {ty}, domained d, items {ty}[]");
    database
        .execute(&format!(
            "DROP TABLE IF EXISTS t, expected; DROP DOMAIN IF EXISTS d; CREATE DOMAIN d AS {ty};
             CREATE TABLE t ({columns}); CREATE TABLE expected ({columns});
             INSERT INTO expected SELECT id, v::{bare}, v::{bare}, i::{bare}[]::{ty}[] FROM (VALUES {}) AS r (id, v, i)",
            rows.join(", ")
        ))
        .await;
}

/// Rows of one table that the other lacks, seen as text and, where a type has it, as binary.
async fn difference(database: &Database, has_binary: bool) -> String {
    let seen = |table| {
        let binary = match has_binary {
            true => "encode(record_send(ROW(plain, domained, items)), 'hex')",
            false => "''",
        };
        format!(
            "SELECT id || ' ' || concat_ws(' ', plain::text, domained::text, items::text, {binary}) FROM {table}"
        )
    };
    let (t, expected) = (seen("t"), seen("expected"));
    database
        .text(&format!(
            "SELECT * FROM (({t} EXCEPT {expected}) UNION ALL (SELECT 'missing ' || m FROM ({expected} EXCEPT {t}) q(m))) q(m)"
        ))
        .await
}

async fn check(client: &mut Client, database: &Database, (ty, values): Case, is_cast: bool) {
    let write_id = &format!("into {ty}");
    let rows = rows(values);
    let has_binary = ty != "isbn" && ty != "seg";
    let spec = json!({"table": "t", "append": {}});
    prepare(database, ty, values).await;
    client
        .put(Put::whole(write(spec.clone()), std::slice::from_ref(&rows)))
        .await
        .unwrap_or_else(|status| panic!("{ty}: {status}"));
    assert_eq!(
        difference(database, has_binary).await,
        "",
        "{ty}, one stream"
    );

    database.execute("TRUNCATE t").await;
    let direct = json!({"table": "t", "append": {"publish": "PUBLISH_DIRECT"}});
    let begun = client
        .begin(&format!("direct into {ty}"), direct, &rows)
        .await;
    assert_eq!(begun.is_err(), is_cast, "{ty}: {begun:?}");
    client
        .begin(write_id, spec, &rows)
        .await
        .unwrap_or_else(|status| panic!("{ty}: {status}"));
    let attempt = Put::whole(attempt(write_id, 0, "a"), &[rows]);
    let receipt: Value = client.put(attempt).await.unwrap();
    client.commit(write_id, &[receipt]).await.unwrap();
    assert_eq!(difference(database, has_binary).await, "", "{ty}, staged");
}

#[tokio::test]
async fn strings_land_as_postgresql_would_read_them() {
    let database = Database::new().await;
    database.execute(SETUP).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let has_xml = database.was_built_with("libxml").await;
    let is_14 = database
        .is_at_least(
            14,
            "a multirange, an infinite numeric, and the binary form of a cube",
        )
        .await;
    let mut cells = 0;
    for (cases, is_cast) in [(ENCODED, false), (CAST, true)] {
        for case in cases {
            let is_of_14 = case.0.ends_with("multirange") || ["decimal", "cube"].contains(&case.0);
            if case.0 == "xml" && !has_xml || is_of_14 && !is_14 {
                continue;
            }
            check(&mut client, &database, *case, is_cast).await;
            cells += 2 * 3 * (case.1.len() + 1);
        }
    }
    println!(
        "{} types, each by itself, through a domain and in arrays, as one stream and staged: {cells} cells",
        ENCODED.len() + CAST.len()
    );
}

#[tokio::test]
async fn casts_need_a_staging_table_and_hide_values() {
    let database = Database::new().await;
    database.execute(SETUP).await;
    database
        .execute(
            "CREATE TYPE price AS (amount numeric(5,2)); CREATE DOMAIN prices AS price[];
             CREATE TABLE t (id int PRIMARY KEY, v tsvector, h hstore, q tsquery, m money, p price,
                 ps prices, c \"char\", r regclass, xy point)",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let row = |column: &str, value: &str| {
        let values: ArrayRef = Arc::new(StringArray::from(vec![value.to_owned()]));
        batch(&[
            ("id", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
            (column, values),
        ])
    };
    let append = json!({"table": "t", "append": {}});
    let upsert = json!({"table": "t", "upsert": {"keys": ["id"]}});
    for spec in [&append, &upsert] {
        database.execute("TRUNCATE t").await;
        client
            .put(Put::whole(write(spec.clone()), &[row("v", "a b")]))
            .await
            .unwrap();
        assert_eq!(database.text("SELECT v FROM t").await, "'a' 'b'");
    }
    let swap = json!({"table": "t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
    let by_value = json!({"table": "t", "updateOnly": {"keys": ["v"]}});
    let cases = [
        (
            &swap,
            row("v", "secret"),
            "is cast to tsvector by PostgreSQL",
        ),
        (
            &by_value,
            row("v", "secret"),
            "cannot be compared as tsvector",
        ),
        (&append, row("m", "12.345"), "cast the data to a decimal"),
        // PostgreSQL would round and cut within them.
        (&append, row("p", "(1.005)"), "cast the data before writing"),
        (
            &append,
            row("ps", "{(1.005)}"),
            "cast the data before writing",
        ),
        (&append, row("c", "secret"), "column c"),
        (
            &append,
            row("h", "secret secret"),
            "Hint: look at the values for h::public.hstore",
        ),
        (
            &append,
            row("q", "secret &"),
            "look at the values for q::tsquery",
        ),
        (
            &append,
            row("r", "secret"),
            "look at the values for r::regclass",
        ),
        (
            &append,
            row("xy", "secret"),
            "look at the values for xy::point",
        ),
    ];
    for (spec, row, words) in cases {
        let put = Put::whole(write(spec.clone()), &[row]);
        let message = client.put(put).await.unwrap_err().message().to_owned();
        let is_told = words.split('|').any(|words| message.contains(words));
        assert!(is_told, "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
    for publish in ["PUBLISH_DIRECT", "PUBLISH_TWO_PHASE"] {
        let spec = json!({"table": "t", "append": {"publish": publish}});
        let begun = client.begin(publish, spec, &row("v", "a")).await;
        let message = begun.unwrap_err().message().to_owned();
        assert!(
            message.contains("is cast to tsvector by PostgreSQL"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_plan_describes_a_write_and_changes_nothing() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (id int2 NOT NULL, doc tsvector, at timestamptz, n int, must int NOT NULL);
             CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER audit BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let ints = || -> ArrayRef { Arc::new(Int32Array::from(vec![1])) };
    let texts = || -> ArrayRef { Arc::new(StringArray::from(vec!["a"])) };
    let append = json!({"table": "t", "append": {}});
    let flawed = [("id", ints()), ("at", ints()), ("gone", ints())];
    let flawed = client.plan(&flawed, append.clone()).await.unwrap();
    let column = |plan: &Value, index: usize, key: &str| -> String {
        plan["columns"][index][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(column(&flawed, 0, "encoding"), "as int2");
    assert_eq!(column(&flawed, 0, "postgresqlType"), "smallint");
    assert!(column(&flawed, 1, "problem").contains("Int32 into timestamp with time zone"));
    assert!(column(&flawed, 2, "problem").contains("there is no column"));
    let missing = client
        .plan(&[("id", ints())], append.clone())
        .await
        .unwrap();
    assert!(
        missing["problems"][0]
            .as_str()
            .unwrap()
            .contains("column must: "),
        "{missing}"
    );

    let good = [("id", ints()), ("doc", texts()), ("must", ints())];
    let good = client.plan(&good, append).await.unwrap();
    assert_eq!(good.get("problems"), None, "{good}");
    assert_eq!(column(&good, 1, "encoding"), "as text, cast by PostgreSQL");
    let warnings = good["warnings"].to_string();
    assert!(warnings.contains("column doc waits as text"), "{warnings}");
    assert!(warnings.contains("audit"), "{warnings}");

    let make = json!({"table": "new", "create": {}});
    let made = client.plan(&[("id", ints())], make).await.unwrap();
    assert_eq!(
        made["statements"][0],
        "CREATE TABLE public.new (id integer)"
    );
    assert_eq!(database.text("SELECT to_regclass('new')").await, "null");
    let nowhere = json!({"table": "nowhere", "append": {}});
    assert!(client.plan(&[("id", ints())], nowhere).await.is_err());
}

#[tokio::test]
async fn the_cli_plans_from_a_file_a_stream_or_a_schema() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (id int2, fare numeric(8,2) DEFAULT 0)")
        .await;
    let folder = std::env::temp_dir().join(format!("pgflight-plan-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let rows = batch(&[("id", ids)]);
    let (mut file, mut stream) = (Vec::new(), Vec::new());
    let mut writer = FileWriter::try_new(&mut file, &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    let mut writer = StreamWriter::try_new(&mut stream, &rows.schema()).unwrap();
    let schema = writer.get_ref().to_vec();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    let run = |bytes: &[u8], options: &[&str]| {
        let path = folder.join("data.arrow");
        std::fs::write(&path, bytes).unwrap();
        let output = Pgflight::command()
            .args(["plan", "--postgres", &database.url])
            .args(options)
            .arg(&path)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    for bytes in [&file, &stream, &schema] {
        let expected = "public.t\n  COLUMN  ARROW  POSTGRESQL  WRITTEN\n  id      Int32  smallint    as int2\n";
        assert_eq!(
            run(bytes, &["--table", "t"]),
            (Some(0), expected.to_owned())
        );
    }
    let create = ["--table", "new", "--mode", "create"];
    let (code, text) = run(&file, &create);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("would run: CREATE TABLE public.new (id integer)"),
        "{text}"
    );
    let types = r#"{"columnTypes": {"id": "uuid"}}"#;
    let (code, text) = run(&file, &[&create[..], &["--spec", types, "--json"]].concat());
    let text: Value = serde_json::from_str(&text).unwrap();
    let problem = text["columns"][0]["problem"].as_str().unwrap();
    assert_eq!(code, Some(1), "refused");
    assert!(problem.contains("Int32 into uuid"), "{problem}");
    for (bytes, options, code, words) in [
        (
            &b"id,fare\n1,2\n"[..],
            &["--table", "t"][..],
            64,
            "data.arrow: the file does not begin with an Arrow schema",
        ),
        (b"", &["--table", "t"], 64, "with an Arrow schema"),
        (&file, &["--table", "gone"], 1, "the table does not exist"),
        (
            &file,
            &["--table", "t", "--keys", "id"],
            64,
            "unknown field `keys`",
        ),
        (
            &file,
            &["--table", "t", "--spec", r#"{"colour": 1}"#],
            64,
            "colour",
        ),
    ] {
        let text = run(bytes, options);
        assert!(text.0 == Some(code) && text.1.contains(words), "{text:?}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn builtin_types_match_the_catalog() {
    let database = Database::new().await;
    let mut known = 0;
    for oid in 1..10_000 {
        let Some(ty) = arrow_pgcopy::PgType::builtin(oid) else {
            continue;
        };
        known += 1;
        let name = format!("SELECT format_type({oid}, NULL)");
        assert_eq!(database.text(&name).await, ty.name, "{oid}");
        if let arrow_pgcopy::PgTypeKind::Array(element) = ty.kind {
            let element_oid = format!("SELECT typelem FROM pg_type WHERE oid = {oid}");
            assert_eq!(database.text(&element_oid).await, element.oid.to_string());
        }
    }
    assert_eq!(known, 2 * 34);
}
