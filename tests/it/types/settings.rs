//! Settings of a role or a database do not change the values that land.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray};
use serde_json::json;

use crate::support::{Database, Pgflight, Put, batch, write};

/// For each setting, the value that changes the meaning of text or of the server's SQL.
const HOSTILE: [(&str, &str); 12] = [
    ("array_nulls", "off"),
    ("xmloption", "document"),
    ("standard_conforming_strings", "off"),
    ("quote_all_identifiers", "on"),
    ("DateStyle", "German, DMY"),
    ("IntervalStyle", "sql_standard"),
    ("TimeZone", "Asia/Kathmandu"),
    ("timezone_abbreviations", "India"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("transform_null_equals", "on"),
    ("default_transaction_isolation", "serializable"),
];

/// Types, and texts of them.
const CASES: [(&str, &str); 11] = [
    ("text[]", r#"{"NULL",null,nUll}"#),
    ("int[]", "{1,NULL}"),
    ("date", "2020-02-03"),
    ("daterange", "[2020-02-03,2020-04-05)"),
    ("tsrange", "[2020-02-03 04:05,)"),
    ("interval", "-1-2 +3 -4:05:06"),
    ("timestamptz", "2020-02-03T04:05:06+01:00"),
    ("bytea", "\\x5c27"),
    ("numeric", "0.1"),
    ("tsvector", "a:1 'b\\\\c'"),
    ("point", "(0.1,-1e-7)"),
];

async fn check(scope: &str) {
    let database = Database::new().await;
    let name = database.text("SELECT current_database()").await;
    let has_xml = database.was_built_with("libxml").await;
    database
        .execute("CREATE SCHEMA \"it's \\ \"\"odd\"\"\"; CREATE TYPE mood AS ENUM ('NULL', 'a\\b')")
        .await;
    let mut columns = CASES.to_vec();
    columns.push(("mood[]", r#"{"NULL","a\\b"}"#));
    if has_xml {
        columns.push(("xml", "a fragment"));
    }
    let definitions: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(i, (sql_type, _))| format!("c{i} {sql_type}"))
        .collect();
    let table = "\"it's \\ \"\"odd\"\"\".t";
    let create = |name: &str| {
        format!(
            "CREATE TABLE {name} (n int PRIMARY KEY, {})",
            definitions.join(", ")
        )
    };
    database
        .execute(&format!("{}; {}", create(table), create("expected")))
        .await;
    let values: Vec<String> = columns
        .iter()
        .map(|(sql_type, text)| format!("'{}'::{sql_type}", text.replace('\'', "''")))
        .collect();
    database
        .execute(&format!(
            "INSERT INTO expected VALUES (1, {})",
            values.join(", ")
        ))
        .await;
    let url = match scope {
        "role" => {
            let role = format!("{name}_role");
            database
                .execute(&format!(
                    "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN SUPERUSER"
                ))
                .await;
            for (setting, value) in HOSTILE {
                database
                    .execute(&format!("ALTER ROLE {role} SET {setting} = '{value}'"))
                    .await;
            }
            database.url_as(&role)
        }
        _ => {
            for (setting, value) in HOSTILE {
                database
                    .execute(&format!("ALTER DATABASE {name} SET {setting} = '{value}'"))
                    .await;
            }
            database.url.clone()
        }
    };
    let server = Pgflight::start_at(&url, &[]);
    let mut client = server.client().await;
    let names: Vec<String> = (0..columns.len()).map(|i| format!("c{i}")).collect();
    let mut arrays: Vec<(&str, ArrayRef)> = vec![("n", Arc::new(Int32Array::from(vec![1])))];
    for (name, (_, text)) in names.iter().zip(&columns) {
        arrays.push((name, Arc::new(StringArray::from(vec![*text]))));
    }
    let rows = batch(&arrays);
    for (mode, options) in [("append", json!({})), ("upsert", json!({"keys": ["n"]}))] {
        let spec = json!({"table": table, mode: options});
        client
            .put(Put::whole(write(spec), std::slice::from_ref(&rows)))
            .await
            .unwrap_or_else(|status| panic!("{scope} {mode}: {status}"));
        for (column, (sql_type, _)) in names.iter().zip(&columns) {
            let seen = |table: &str| format!("SELECT {column}::text FROM {table}");
            let (landed, judged) = (
                database.text(&seen(table)).await,
                database.text(&seen("expected")).await,
            );
            assert_eq!(landed, judged, "{scope} {mode} {sql_type}");
        }
    }
    // The server's own SQL: definitions from the catalog, names with quotes and backslashes, the ledger.
    let swap = json!({"table": table, "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
    let numbers = batch(&arrays[..1]);
    client
        .put(Put::whole(write(swap), &[numbers]))
        .await
        .unwrap();
    let kept = format!(
        "SELECT count(*) FROM pg_index WHERE indrelid = '{}'::regclass",
        table.replace('\'', "''")
    );
    assert_eq!(database.text(&kept).await, "1");
}

#[tokio::test]
async fn settings_of_a_role_do_not_change_values() {
    check("role").await;
}

#[tokio::test]
async fn settings_of_a_database_do_not_change_values() {
    check("database").await;
}
