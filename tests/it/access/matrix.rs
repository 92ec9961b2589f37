//! Every principal × table × mode × action: the server accepts what a grant allows, and rejects everything else in the
//! same way, whether the table or write exists or not.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow_flight::Criteria;
use futures_util::StreamExt;
use pgflight::auth::digest_of;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::{Client, Database, File, Pgflight, Put, attempt, batch, path, write};

const TABLES: &str = "CREATE SCHEMA sales; CREATE SCHEMA hr;
    CREATE TABLE sales.orders (n int PRIMARY KEY, m int); CREATE TABLE sales.returns (n int PRIMARY KEY, m int);
    CREATE TABLE hr.pay (n int PRIMARY KEY, m int); CREATE TABLE public.orders (n int PRIMARY KEY, m int);
    CREATE TABLE sales.parted (n int PRIMARY KEY, m int) PARTITION BY RANGE (n);
    CREATE TABLE hr.part PARTITION OF sales.parted DEFAULT;
    CREATE TABLE \"Sales\".\"Orders\" (n int PRIMARY KEY, m int); CREATE TABLE sales.\"hr.pay\" (n int PRIMARY KEY, m int);
    CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
    CREATE FOREIGN TABLE public.away (n int, m int) SERVER far";
const EMPTY: &str = "TRUNCATE sales.orders, sales.returns, hr.pay, public.orders, sales.parted, \"Sales\".\"Orders\",
    sales.\"hr.pay\"";
const ROWS: &str = "SELECT (SELECT count(*) FROM sales.orders) + (SELECT count(*) FROM sales.returns)
    + (SELECT count(*) FROM hr.pay) + (SELECT count(*) FROM public.orders) + (SELECT count(*) FROM sales.parted)
    + (SELECT count(*) FROM \"Sales\".\"Orders\") + (SELECT count(*) FROM sales.\"hr.pay\")";

const PRINCIPALS: [(&str, &str); 5] = [
    (
        "clerk",
        "[{ tables = ['sales.*'], modes = ['append', 'upsert'] }]",
    ),
    (
        "owner",
        "[{ tables = ['sales.orders'], modes = ['append', 'create', 'overwrite'] },
          { tables = ['hr.p?y'], modes = ['delete_by_key', 'insert_if_absent', 'update_only'] }]",
    ),
    (
        "root",
        "[{ tables = ['*.*'], modes = ['append', 'create', 'overwrite', 'upsert', 'insert_if_absent',
                                       'update_only', 'delete_by_key'] }]",
    ),
    ("idle", "[]"),
    (
        "elsewhere",
        "[{ targets = ['second'], tables = ['*.*'], modes = ['append'] }]",
    ),
];

/// The table names, as a spec spells them.
const NAMES: [&str; 15] = [
    "sales.orders",
    "sales.returns",
    "hr.pay",
    "public.orders",
    "orders",
    "sales.parted",
    "hr.part",
    "\"Sales\".\"Orders\"",
    "\"SALES\".orders",
    "sales.\"hr.pay\"",
    "sales.nought",
    "hr.nought",
    "pg_catalog.pg_class",
    "pgflight.write",
    "away",
];

const MODES: [&str; 7] = [
    "append",
    "create",
    "overwrite",
    "upsert",
    "insert_if_absent",
    "update_only",
    "delete_by_key",
];

/// The answer about a write that another principal began. A principal without grants learns nothing else.
fn unknown(who: &str) -> Code {
    match who {
        "idle" => Code::PermissionDenied,
        _ => Code::NotFound,
    }
}

/// Returns the code that a caller gets for a write, and for all calls before it.
fn expected(who: &str, table: &str, mode: &str) -> Code {
    let of_sales = table.starts_with("sales.");
    let granted = match who {
        "clerk" => of_sales && ["append", "upsert"].contains(&mode),
        "owner" if table == "sales.orders" => ["append", "create", "overwrite"].contains(&mode),
        "owner" if table == "hr.pay" => {
            ["delete_by_key", "insert_if_absent", "update_only"].contains(&mode)
        }
        "root" => true,
        _ => false,
    };
    // A caller with a grant for a table may learn that the table does not exist.
    let may_see = who == "clerk" && table == "sales.nought";
    match table {
        _ if who == "elsewhere" => Code::NotFound,
        "pg_catalog.pg_class" | "pgflight.write" => Code::PermissionDenied,
        _ if !(granted || may_see) => Code::PermissionDenied,
        "away" => Code::Unimplemented,
        "\"SALES\".orders" => Code::NotFound,
        // Callers that may create make the table if it is missing.
        "sales.nought" | "hr.nought" if ["create", "overwrite"].contains(&mode) => match who {
            "root" => Code::Ok,
            _ => Code::PermissionDenied,
        },
        "sales.nought" | "hr.nought" => Code::NotFound,
        _ => Code::Ok,
    }
}

fn columns() -> [(&'static str, ArrayRef); 2] {
    ["n", "m"].map(|name| (name, Arc::new(Int32Array::from(vec![1])) as ArrayRef))
}

fn rows() -> RecordBatch {
    batch(&columns())
}

fn spec(table: &str, mode: &str) -> Value {
    let keys = json!({"keys": ["n"]});
    match mode {
        "append" => json!({"table": table, "append": {}}),
        "create" => json!({"table": table, "create": {"ifExists": "IF_EXISTS_IGNORE"}}),
        "overwrite" => json!({"table": table, "overwrite": {}}),
        "upsert" => json!({"table": table, "upsert": keys}),
        "insert_if_absent" => json!({"table": table, "insertIfAbsent": keys}),
        "update_only" => json!({"table": table, "updateOnly": keys}),
        _ => json!({"table": table, "deleteByKey": keys}),
    }
}

fn code<T>(outcome: &Result<T, Status>) -> Code {
    outcome.as_ref().err().map_or(Code::Ok, Status::code)
}

struct World {
    first: Database,
    second: Database,
    server: Pgflight,
    _file: File,
}

impl World {
    async fn new() -> Self {
        let (first, second) = (Database::new().await, Database::new().await);
        first
            .execute(&format!("CREATE SCHEMA \"Sales\"; {TABLES}"))
            .await;
        second.execute("CREATE TABLE orders (n int, m int)").await;
        let mut text = format!(
            "[server]\ndefault_target = 'first'\n[targets.first]\npostgres = '{}'\n\
             [targets.second]\npostgres = '{}'\n",
            first.url, second.url
        );
        for (name, grants) in PRINCIPALS {
            let digest = digest_of(name);
            text += &format!("[principals.{name}]\ntokens = ['{digest}']\ngrants = {grants}\n");
        }
        let file = File::new(&text);
        let options = ["--config", file.name(), "--log", "error,pgflight::cli=info"];
        let server = Pgflight::start_at("", &options);
        Self {
            first,
            second,
            server,
            _file: file,
        }
    }

    async fn client(&self, who: &str) -> Client {
        self.server.client().await.bearing(who)
    }
}

#[tokio::test]
async fn grants_decide_every_mode_and_action_on_every_table() {
    let world = World::new().await;
    let database = &world.first;
    let mut tried = 0;
    for (who, _) in PRINCIPALS {
        let mut client = world.client(who).await;
        let mut others = Vec::new();
        for (other, _) in PRINCIPALS.iter().filter(|(other, _)| *other != who) {
            others.push((*other, world.client(other).await));
        }
        for table in NAMES {
            for mode in MODES {
                let what = format!("{who} {mode} {table}");
                let expected = expected(who, table, mode);
                let write_id = format!("{who} {mode} {table}");
                let is_new = table.ends_with("nought");
                let clean = async || {
                    database.execute(EMPTY).await;
                    if is_new {
                        let drop = format!("DROP TABLE IF EXISTS {table}");
                        database.execute(&drop).await;
                    }
                };
                let plan = client.plan(&columns(), spec(table, mode)).await;
                let put = Put::whole(write(spec(table, mode)), &[rows()]);
                let put = client.put(put).await;
                if expected == Code::Ok {
                    clean().await;
                }
                let begun = client.begin(&write_id, spec(table, mode), &rows()).await;
                assert_eq!(code(&plan), expected, "plan: {what}: {plan:?}");
                assert_eq!(code(&put), expected, "put: {what}: {put:?}");
                assert_eq!(code(&begun), expected, "begin: {what}: {begun:?}");
                // A write of another principal looks like one that does not exist.
                let own = || Put::whole(attempt(&write_id, 0, "a"), &[rows()]);
                for (other_name, other) in others.iter_mut().filter(|_| begun.is_ok()) {
                    let refused = [
                        code(&other.put(own()).await),
                        code(&other.status(&write_id).await),
                        code(&other.commit(&write_id, &[]).await),
                    ];
                    assert_eq!(refused, [unknown(other_name); 3], "{other_name}: {what}");
                }
                let sent = client.put(own()).await;
                let status = client.status(&write_id).await;
                let receipts: Vec<Value> = sent.iter().cloned().collect();
                let committed = client.commit(&write_id, &receipts).await;
                let after = if expected == Code::Ok {
                    Code::Ok
                } else {
                    unknown(who)
                };
                // An existing table stays unchanged, and this ends its write.
                let left_alone = json!("WRITE_STATE_COMMITTED");
                let is_over = begun.is_ok_and(|begun| begun["state"] == left_alone);
                let taken = if is_over {
                    Code::FailedPrecondition
                } else {
                    after
                };
                assert_eq!(code(&sent), taken, "attempt: {what}: {sent:?}");
                assert_eq!(code(&status), after, "status: {what}: {status:?}");
                assert_eq!(code(&committed), after, "commit: {what}: {committed:?}");
                tried += 1;
                if expected == Code::Ok {
                    clean().await;
                } else {
                    assert_eq!(database.text(ROWS).await, "0", "{what}");
                    let gone = format!("SELECT to_regclass('{table}') IS NULL");
                    assert!(!is_new || database.text(&gone).await == "true", "{what}");
                }
            }
        }
        world.server.assert_unharmed(who).await;
    }
    assert_eq!(tried, PRINCIPALS.len() * NAMES.len() * MODES.len());
}

#[tokio::test]
async fn principals_see_their_grants_and_abort_only_their_writes() {
    let world = World::new().await;
    let mut root = world.client("root").await;
    let staged = json!({"table": "orders", "append": {"publish": "PUBLISH_STAGED"}});
    root.begin("w", staged, &rows()).await.unwrap();
    let sales = [
        "first.sales.hr.pay",
        "first.sales.orders",
        "first.sales.parted",
        "first.sales.returns",
    ];
    let all = [
        "first.Sales.Orders",
        "first.hr.pay",
        "first.public.orders",
        sales[0],
        sales[1],
        sales[2],
        sales[3],
    ];
    let cases: [(&str, &[&str], [Code; 3]); 5] = [
        // By a path: in the first target, in the second, and in one that does not exist.
        (
            "clerk",
            &sales,
            [Code::PermissionDenied, Code::NotFound, Code::NotFound],
        ),
        (
            "owner",
            &["first.hr.pay", "first.sales.orders"],
            [Code::PermissionDenied, Code::NotFound, Code::NotFound],
        ),
        ("root", &all, [Code::Ok, Code::NotFound, Code::NotFound]),
        (
            "idle",
            &[],
            [
                Code::PermissionDenied,
                Code::PermissionDenied,
                Code::PermissionDenied,
            ],
        ),
        (
            "elsewhere",
            &["second.public.orders"],
            [Code::NotFound, Code::Ok, Code::NotFound],
        ),
    ];
    for (who, tables, codes) in cases {
        let mut client = world.client(who).await;
        for (target, expected) in ["first", "second", "third"].into_iter().zip(codes) {
            let by_path = path(&[target, "public", "orders"]);
            let put = client.put(Put::bare(by_path, &[rows()])).await;
            assert_eq!(code(&put), expected, "{who} at {target}: {put:?}");
            let mut by_name = spec("public.orders", "append");
            by_name["target"] = json!(target);
            let plan = client.plan(&columns(), by_name).await;
            assert_eq!(code(&plan), expected, "{who} at {target}: {plan:?}");
        }
        let listed: Vec<String> = match client.flight.list_flights(Criteria::default()).await {
            Ok(flights) => {
                let flights = flights.into_inner();
                let named = flights.map(|f| f.unwrap().flight_descriptor.unwrap().path.join("."));
                named.collect().await
            }
            Err(_) => Vec::new(),
        };
        assert_eq!(listed, tables, "{who}");
        for (parts, name) in [
            (["sales", "orders"], "first.sales.orders"),
            (["hr", "pay"], "first.hr.pay"),
        ] {
            let schema = client.flight.get_schema(path(&parts)).await;
            let may = tables.contains(&name);
            assert_eq!(schema.is_ok(), may, "{who} {name}: {schema:?}");
        }
        if who != "root" {
            let aborted = client.abort("w").await;
            let never = client.abort("never").await;
            let state = |status: Result<Value, Status>| {
                status.map(|s| s["state"].clone()).map_err(|s| s.code())
            };
            assert_eq!(state(aborted), state(never), "{who}");
        }
    }
    let status = root.status("w").await.unwrap();
    assert_eq!(status["state"], "WRITE_STATE_OPEN", "{status}");
    let landed = "SELECT count(*) FROM orders";
    assert_eq!(world.first.text(landed).await, "1");
    assert_eq!(world.second.text(landed).await, "1");
}
