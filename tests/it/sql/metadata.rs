//! What clients ask around an ingest: facts, lists and keys.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int32Type, UInt32Type};
use arrow_flight::sql::{
    ActionBeginTransactionRequest, Any, CommandGetCrossReference, CommandGetDbSchemas,
    CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo,
    CommandGetTables, CommandGetXdbcTypeInfo, CommandStatementSubstraitPlan, ProstMessageExt,
    SqlInfo,
};
use arrow_flight::{Action, FlightDescriptor, FlightInfo, IpcMessage};
use futures_util::TryStreamExt;
use pgflight::auth::digest_of;
use prost::Message;
use tonic::Code;

use super::{SqlClient, call_error, connect, setup};
use crate::support::{CallError, Database, File, Pgflight, path};

/// Fetches the answer that a flight info describes.
async fn fetch(client: &mut SqlClient, info: FlightInfo) -> Vec<RecordBatch> {
    let schema = info.clone().try_decode_schema().unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let batches: Vec<RecordBatch> = client
        .do_get(ticket)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    for batch in &batches {
        assert_eq!(*batch.schema(), schema, "the schema of the flight info");
    }
    batches
}

/// The texts of these columns, joined by dots: one text for each row.
fn texts(batches: &[RecordBatch], columns: &[usize]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| {
                let texts = batch.column(*column).as_string::<i32>();
                texts.value(row).to_owned()
            });
            rows.push(cells.collect::<Vec<_>>().join("."));
        }
    }
    rows
}

const TABLES: &str = "CREATE SCHEMA sales; CREATE SCHEMA empty;
    CREATE TABLE sales.orders (id int, at timestamptz NOT NULL); CREATE TABLE sales.order_items (id int);
    CREATE TABLE public.orders (b int, a int, PRIMARY KEY (a, b)); CREATE VIEW sales.v AS SELECT 1 AS one";

#[tokio::test]
async fn the_facts_have_the_layout_that_drivers_read() {
    let (_database, _server, mut client) = setup("").await;
    let info = client.get_sql_info(vec![]).await.unwrap();
    let facts = fetch(&mut client, info).await.remove(0);
    let codes = facts
        .column(0)
        .as_primitive::<UInt32Type>()
        .values()
        .to_vec();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 8, 9, 10, 11]);
    let values = facts.column(1).as_union();
    let DataType::Union(fields, _) = values.data_type() else {
        panic!("not a union");
    };
    let names: Vec<_> = fields
        .iter()
        .map(|(id, field)| (id, field.name().as_str()))
        .collect();
    let expected = [
        (0, "string_value"),
        (1, "bool_value"),
        (2, "bigint_value"),
        (3, "int32_bitmask"),
        (4, "string_list"),
        (5, "int32_to_int32_list_map"),
    ];
    assert_eq!(names, expected);
    let row = |code: SqlInfo| {
        codes
            .iter()
            .position(|found| *found == code as u32)
            .unwrap()
    };
    let bool = |code| values.value(row(code)).as_boolean().value(0);
    assert_eq!(values.value(0).as_string::<i32>().value(0), "pgflight");
    assert!(bool(SqlInfo::FlightSqlServerBulkIngestion));
    assert!(bool(SqlInfo::FlightSqlServerIngestTransactionsSupported));
    assert!(!bool(SqlInfo::FlightSqlServerReadOnly));
    let transactions = values.value(row(SqlInfo::FlightSqlServerTransaction));
    assert_eq!(transactions.as_primitive::<Int32Type>().value(0), 1, "yes");

    let chosen = client
        .get_sql_info(vec![SqlInfo::FlightSqlServerCancel])
        .await;
    let chosen = fetch(&mut client, chosen.unwrap()).await.remove(0);
    assert_eq!(chosen.num_rows(), 1);
}

type Pattern = Option<&'static str>;
type Names = &'static [&'static str];

#[tokio::test]
async fn tables_are_found_by_catalog_pattern_and_type() {
    let (_database, _server, mut client) = setup(TABLES).await;
    let all: Names = &["public.orders", "sales.order_items", "sales.orders"];
    let none: Names = &[];
    let cases: [(Pattern, Pattern, Pattern, Names, Names); 9] = [
        (None, None, None, &[], all),
        (Some("default"), None, None, &["VIEW", "TABLE"], all),
        (Some("other"), None, None, &[], none),
        (None, None, None, &["VIEW"], none),
        (None, Some("sales"), None, &[], &all[1..]),
        (None, Some("s%"), Some("orders"), &[], &all[2..]),
        (
            None,
            None,
            Some("order_"),
            &[],
            &["public.orders", "sales.orders"],
        ),
        (None, None, Some("order\\_%"), &[], &["sales.order_items"]),
        (None, Some("empty"), None, &[], none),
    ];
    for (catalog, schema, table, types, expected) in cases {
        for include_schema in [false, true] {
            let request = CommandGetTables {
                catalog: catalog.map(str::to_owned),
                db_schema_filter_pattern: schema.map(str::to_owned),
                table_name_filter_pattern: table.map(str::to_owned),
                table_types: types.iter().map(|found| (*found).to_owned()).collect(),
                include_schema,
            };
            let what = format!("{request:?}");
            let info = client.get_tables(request).await.unwrap();
            let found = fetch(&mut client, info).await;
            assert_eq!(texts(&found, &[1, 2]), expected, "{what}");
            let is_table = |kind: &String| kind == "default.TABLE";
            assert!(texts(&found, &[0, 3]).iter().all(is_table), "{what}");
        }
    }
}

#[tokio::test]
async fn a_listed_table_has_the_schema_of_get_schema() {
    let (_database, server, mut client) = setup(TABLES).await;
    let request = CommandGetTables {
        table_name_filter_pattern: Some("orders".to_owned()),
        db_schema_filter_pattern: Some("sales".to_owned()),
        include_schema: true,
        ..Default::default()
    };
    let info = client.get_tables(request).await.unwrap();
    let listed = fetch(&mut client, info).await.remove(0);
    let listed = listed.column(4).as_binary::<i32>().value(0).to_vec();
    let mut native = server.client().await;
    let native = native.flight.get_schema(path(&["sales", "orders"])).await;
    assert_eq!(listed, native.unwrap().into_inner().schema);
    assert_eq!(
        arrow::datatypes::Schema::try_from(IpcMessage(listed.into()))
            .unwrap()
            .field(1)
            .name(),
        "at"
    );
}

#[tokio::test]
async fn catalogs_schemas_types_and_keys_are_listed() {
    let (_database, _server, mut client) = setup(TABLES).await;
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(texts(&fetch(&mut client, info).await, &[0]), ["default"]);
    let info = client.get_table_types().await.unwrap();
    assert_eq!(texts(&fetch(&mut client, info).await, &[0]), ["TABLE"]);
    for (pattern, expected) in [
        (None, &["default.public", "default.sales"][..]),
        (Some("s%"), &["default.sales"]),
    ] {
        let request = CommandGetDbSchemas {
            catalog: None,
            db_schema_filter_pattern: pattern.map(str::to_owned),
        };
        let info = client.get_db_schemas(request).await.unwrap();
        assert_eq!(texts(&fetch(&mut client, info).await, &[0, 1]), expected);
    }
    let keys_of = |schema: &str, table: &str| CommandGetPrimaryKeys {
        catalog: None,
        db_schema: Some(schema.to_owned()),
        table: table.to_owned(),
    };
    let info = client
        .get_primary_keys(keys_of("public", "orders"))
        .await
        .unwrap();
    let keys = fetch(&mut client, info).await;
    let expected = [
        "default.public.orders.a.orders_pkey",
        "default.public.orders.b.orders_pkey",
    ];
    assert_eq!(texts(&keys, &[0, 1, 2, 3, 5]), expected);
    let numbers = keys[0].column(4).as_primitive::<Int32Type>().values();
    assert_eq!(numbers[..], [1, 2]);
    let info = client
        .get_primary_keys(keys_of("sales", "orders"))
        .await
        .unwrap();
    assert!(texts(&fetch(&mut client, info).await, &[0]).is_empty());
}

#[tokio::test]
async fn lists_show_only_what_the_caller_may_write() {
    let database = Database::new().await;
    database.execute(TABLES).await;
    let file = File::new(&format!(
        "[principals.clerk]\ntokens = ['{}']\ngrants = [{{ tables = ['sales.orders'], modes = ['append'] }}]\n\
         [principals.guest]\ntokens = ['{}']\n",
        digest_of("clerk"),
        digest_of("guest")
    ));
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    let mut client = connect(&server).await;
    assert!(client.get_catalogs().await.is_err(), "unauthenticated");
    for (token, tables, schemas, catalogs) in [
        ("clerk", &["sales.orders"][..], &["sales"][..], 1),
        ("guest", &[], &[], 0),
    ] {
        client.set_token(token.to_owned());
        let info = client
            .get_tables(CommandGetTables::default())
            .await
            .unwrap();
        assert_eq!(texts(&fetch(&mut client, info).await, &[1, 2]), tables);
        let info = client
            .get_db_schemas(CommandGetDbSchemas::default())
            .await
            .unwrap();
        assert_eq!(texts(&fetch(&mut client, info).await, &[1]), schemas);
        let info = client.get_catalogs().await.unwrap();
        assert_eq!(texts(&fetch(&mut client, info).await, &[0]).len(), catalogs);
    }
    client.set_token("clerk".to_owned());
    for (schema, table) in [
        ("public", "orders"),
        ("sales", "order_items"),
        ("sales", "no"),
    ] {
        let request = CommandGetPrimaryKeys {
            catalog: None,
            db_schema: Some(schema.to_owned()),
            table: table.to_owned(),
        };
        let ticket = FlightDescriptor::new_cmd(request.as_any().encode_to_vec()).cmd;
        let denied = client.do_get(arrow_flight::Ticket::new(ticket)).await;
        let denied = call_error(denied.expect_err("hidden"));
        assert_eq!(denied.code, Code::PermissionDenied, "{table}: {denied:?}");
    }
}

#[tokio::test]
async fn everything_else_is_refused_with_what_to_use() {
    let (_database, server, _client) = setup("").await;
    let mut native = server.client().await;
    let commands: [(&str, Any); 4] = [
        (
            "CommandGetExportedKeys",
            CommandGetExportedKeys::default().as_any(),
        ),
        (
            "CommandGetImportedKeys",
            CommandGetImportedKeys::default().as_any(),
        ),
        (
            "CommandGetCrossReference",
            CommandGetCrossReference::default().as_any(),
        ),
        (
            "CommandStatementSubstraitPlan",
            CommandStatementSubstraitPlan::default().as_any(),
        ),
    ];
    let check = |status: tonic::Status, name: &str| {
        let error = CallError::from(status);
        assert_eq!(error.code, Code::Unimplemented, "{error:?}");
        assert!(error.message.contains(name), "{error:?}");
        assert!(!error.details["hint"].is_empty(), "{error:?}");
    };
    for (name, command) in commands {
        let bytes = command.encode_to_vec();
        let descriptor = FlightDescriptor::new_cmd(bytes.clone());
        check(
            native
                .flight
                .get_flight_info(descriptor.clone())
                .await
                .unwrap_err(),
            name,
        );
        check(
            native.flight.get_schema(descriptor).await.unwrap_err(),
            name,
        );
        let ticket = arrow_flight::Ticket::new(bytes);
        check(native.flight.do_get(ticket).await.unwrap_err(), name);
    }
    let begin = ActionBeginTransactionRequest::default()
        .as_any()
        .encode_to_vec();
    for name in [
        "BeginSavepoint",
        "EndSavepoint",
        "CreatePreparedSubstraitPlan",
        "CancelQuery",
        "CancelFlightInfo",
        "RenewFlightEndpoint",
    ] {
        let action = Action {
            r#type: name.to_owned(),
            body: begin.clone().into(),
        };
        check(native.flight.do_action(action).await.unwrap_err(), name);
    }
    let broken = Any {
        value: vec![0xff].into(),
        ..CommandGetSqlInfo::default().as_any()
    };
    let descriptor = FlightDescriptor::new_cmd(broken.encode_to_vec());
    let status = native.flight.get_flight_info(descriptor).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test]
async fn types_are_those_of_postgresql() {
    let (database, _server, mut client) = setup("").await;
    let mut read = async |data_type| {
        let command = CommandGetXdbcTypeInfo { data_type };
        let info = client.get_xdbc_type_info(command).await.unwrap();
        let schema = info.clone().try_decode_schema().unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let answer = client.do_get(ticket).await.unwrap();
        let batches: Vec<RecordBatch> = answer.try_collect().await.unwrap();
        concat_batches(&Arc::new(schema), &batches).unwrap()
    };
    let all = read(None).await;
    let names: Vec<String> = all
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    let canonical = "type_name,data_type,column_size,literal_prefix,literal_suffix,create_params,nullable,case_sensitive,\
                     searchable,unsigned_attribute,fixed_prec_scale,auto_increment,local_type_name,minimum_scale,\
                     maximum_scale,sql_data_type,datetime_subcode,num_prec_radix,interval_precision";
    assert_eq!(names.join(","), canonical);
    let (short, standard) = (
        all.column(0).as_string::<i32>(),
        all.column(12).as_string::<i32>(),
    );
    for (short, standard) in short.iter().zip(standard) {
        let (short, standard) = (short.unwrap(), standard.unwrap());
        let known =
            format!("SELECT pg_catalog.format_type(pg_catalog.to_regtype('{short}'), NULL)");
        assert_eq!(database.text(&known).await, standard, "{short}");
    }
    // The codes of XDBC: integer, timestamp, varchar, and one that no type has.
    for (code, expected) in [
        (4, "int4"),
        (93, "timestamp,timestamptz"),
        (12, "varchar"),
        (-6, ""),
    ] {
        let found = read(Some(code)).await;
        let names = found.column(0).as_string::<i32>().iter().flatten();
        assert_eq!(names.collect::<Vec<_>>().join(","), expected, "{code}");
    }
}
