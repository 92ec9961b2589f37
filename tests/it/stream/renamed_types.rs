//! Types whose owner gives their name to another one while a write reads the columns of a table and then creates a table
//! with the same columns: no code of the owner runs, and no row is written.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use serde_json::{Value, json};
use tonic::Code;

use crate::access::role::World;
use crate::support::{Client, Put, attempt, batch, write};

/// The types of another role: an enum, and a domain with its code, which exchange their name when CREATE TABLE
/// starts, as another session could do at that moment.
async fn exchanging(world: &World) -> String {
    let database = &world.database;
    let other = world.stranger().await;
    let writer = &world.writer;
    // The first write creates the tables of the ledger.
    let mut client = world.client().await;
    let spec = json!({"table": "sales.plain", "append": {"publish": "PUBLISH_STAGED"}});
    let none = Arc::new(Int32Array::from(Vec::<i32>::new())) as ArrayRef;
    client
        .begin("first", spec, &batch(&[("n", none)]))
        .await
        .unwrap();
    client.abort("first").await.unwrap();
    database
        .execute(&format!(
            "CREATE TABLE public.proof (who text); GRANT ALL ON public.proof TO PUBLIC;
             GRANT CREATE ON SCHEMA sales TO {writer};
             SET ROLE {other};
             CREATE FUNCTION ev.spy(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO public.proof VALUES (session_user); RETURN true; END $$;
             CREATE TYPE ev.kind AS ENUM ('a', 'b'); CREATE DOMAIN ev.bad AS text CHECK (ev.spy(VALUE));
             RESET ROLE;
             CREATE TABLE sales.kinds (n ev.kind PRIMARY KEY); CREATE TABLE sales.kinded (n ev.kind);
             ALTER TABLE sales.kinds OWNER TO {writer}; ALTER TABLE sales.kinded OWNER TO {writer};
             CREATE FUNCTION public.exchange() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
                IF to_regtype('ev.bad') IS NOT NULL THEN
                    ALTER TYPE ev.kind RENAME TO good; ALTER DOMAIN ev.bad RENAME TO kind;
                END IF; END $$;
             CREATE EVENT TRIGGER exchange ON ddl_command_start WHEN TAG IN ('CREATE TABLE')
                EXECUTE FUNCTION public.exchange()"
        ))
        .await;
    other
}

async fn forget(world: World, other: &str) {
    world.database.execute("DROP EVENT TRIGGER exchange").await;
    world.forget_stranger(other).await;
    world.forget().await;
}

fn kinds() -> RecordBatch {
    batch(&[("n", Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef)])
}

/// Writes in one stream, and else in a write of one partition; returns the code of the first error.
pub(crate) async fn outcome(
    client: &mut Client,
    spec: &Value,
    rows: &RecordBatch,
    id: Option<&str>,
) -> Code {
    let written = match id {
        None => client
            .put(Put::whole(write(spec.clone()), std::slice::from_ref(rows)))
            .await
            .map(drop),
        Some(id) => {
            async {
                client.begin(id, spec.clone(), rows).await?;
                let sent = Put::whole(attempt(id, 0, "a"), std::slice::from_ref(rows));
                let receipt = client.put(sent).await?;
                client.commit(id, &[receipt]).await.map(drop)
            }
            .await
        }
    };
    written.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test]
async fn a_type_that_gets_another_name_before_create_table_is_rejected() {
    let cases = [
        (
            "upsert",
            json!({"table": "sales.kinds", "upsert": {"keys": ["n"]}}),
            kinds(),
        ),
        (
            "append in stages",
            json!({"table": "sales.kinded", "append": {"publish": "PUBLISH_STAGED"}}),
            kinds(),
        ),
    ];
    for (what, spec, rows) in cases {
        for id in [None, Some("w")] {
            let world = World::new("renamed_types", &[]).await;
            let other = exchanging(&world).await;
            let mut client = world.client().await;
            let code = outcome(&mut client, &spec, &rows, id).await;
            // One stream appends to the table itself.
            let expected = match (what, id) {
                ("append in stages", None) => Code::Ok,
                _ => Code::FailedPrecondition,
            };
            assert_eq!(code, expected, "{what}, {id:?}");
            let ran = world.database.text("SELECT count(*) FROM proof").await;
            assert_eq!(ran, "0", "{what}, {id:?}: code of the other role");
            let made = "SELECT count(*) FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid
                        JOIN pg_class c ON c.oid = attrelid AND relkind = 'r'
                        WHERE t.typtype = 'd' AND relnamespace IN ('sales'::regnamespace, 'pgflight'::regnamespace)";
            assert_eq!(
                world.database.text(made).await,
                "0",
                "{what}, {id:?}: columns"
            );
            forget(world, &other).await;
        }
    }
}
