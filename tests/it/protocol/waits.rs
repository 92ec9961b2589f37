//! Calls of one caller wait for what others hold, and leave connections to the calls of others.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array};
use pgflight::auth::digest_of;
use serde_json::json;
use tonic::Code;

use crate::access::attacks::{append, ids, put, setup};
use crate::support::{Client, Database, File, Pgflight, Put, attempt, path, wait_until};

#[tokio::test]
async fn a_begin_does_not_wait_behind_commits() {
    let sql = "CREATE TABLE locked (id int8); CREATE TABLE free (id int8)";
    let (database, server, mut client) = setup(sql, &["--lock-timeout", "5m"]).await;
    let staged = json!({"table": "locked", "append": {"publish": "PUBLISH_STAGED"}});
    let mut receipts = Vec::new();
    for number in 0..10 {
        let id = format!("w{number}");
        client.begin(&id, staged.clone(), &ids(&[])).await.unwrap();
        let sent = client.put(Put::whole(attempt(&id, 0, "a"), &[ids(&[number])]));
        receipts.push((id, sent.await.unwrap()));
    }
    database.execute("BEGIN; LOCK TABLE locked").await;
    let commits: Vec<_> = receipts
        .into_iter()
        .map(|(id, receipt)| {
            let address = server.address.clone();
            tokio::spawn(async move {
                let mut client = Client::connect(&address).await;
                client.commit(&id, &[receipt]).await
            })
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waits = async || {
        // Within a transaction, PostgreSQL repeats the sessions of the first query.
        database.execute("SELECT pg_stat_clear_snapshot()").await;
        database.text(waiting).await == "6"
    };
    wait_until(waits, "six commits wait for the lock").await;
    let rows = ids(&[]);
    let begun = client.begin("other", append("free"), &rows);
    let begun = tokio::time::timeout(Duration::from_secs(20), begun).await;
    begun.expect("a begin waits behind commits").unwrap();
    database.execute("COMMIT").await;
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
    assert_eq!(database.text("SELECT count(*) FROM locked").await, "10");
}

#[tokio::test]
async fn a_begin_does_not_wait_behind_looks_at_a_locked_view() {
    let sql = "CREATE TABLE shown (id int8); CREATE VIEW v AS SELECT id FROM shown;
               CREATE VIEW of_view AS SELECT id FROM v; CREATE TABLE free (id int8)";
    let (database, server, mut client) = setup(sql, &["--lock-timeout", "5m"]).await;
    let made = client.begin("first", append("free"), &ids(&[])).await;
    made.expect("the ledger is made");
    database.execute("BEGIN; LOCK TABLE v").await;
    let looks: Vec<_> = (0..12)
        .map(|number| {
            let (address, view) = (server.address.clone(), ["v", "of_view"][number % 2]);
            tokio::spawn(async move {
                let mut client = Client::connect(&address).await;
                match number % 3 {
                    0 => client
                        .begin(&format!("v{number}"), append(view), &ids(&[]))
                        .await
                        .err(),
                    1 => {
                        let id = Arc::new(Int64Array::from(vec![0])) as ArrayRef;
                        client.plan(&[("id", id)], append(view)).await.err()
                    }
                    _ => client.flight.get_schema(path(&[view])).await.err(),
                }
            })
        })
        .collect();
    let rows = ids(&[]);
    let begun = client.begin("w", append("free"), &rows);
    let begun = tokio::time::timeout(Duration::from_secs(20), begun).await;
    begun.expect("a begin waits behind looks").unwrap();
    for look in looks {
        let refused = look.await.unwrap();
        let refused = refused.unwrap_or_else(|| panic!("a look waits for no lock"));
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert!(
            refused
                .message()
                .contains("another session has locked the view"),
            "{refused}"
        );
    }
    database.execute("ROLLBACK").await;
    put(&mut client, append("of_view"), &ids(&[1]))
        .await
        .unwrap();
}

/// Starts a server for the principals `a` and `b`, which may do everything to the tables `a_…` and `b_…`.
async fn two_principals(sql: &str) -> (Database, Pgflight, File) {
    let database = Database::new().await;
    database.execute(sql).await;
    let principals = ["a", "b"].map(|name| {
        format!(
            "[principals.{name}]\ntokens = ['{}']\ngrants = [{{ tables = ['public.{name}_*'], modes = ['append', 'overwrite'] }}]\n",
            digest_of(name)
        )
    });
    let file = File::new(&principals.concat());
    let options = ["--config", file.name(), "--lock-timeout", "5m"];
    let server = Pgflight::start_with(&database, &options);
    (database, server, file)
}

async fn assert_begins(client: &mut Client, id: &str, table: &str, meanwhile: &str) {
    let rows = ids(&[]);
    let begun = client.begin(id, append(table), &rows);
    let begun = tokio::time::timeout(Duration::from_secs(20), begun).await;
    let begun = begun.unwrap_or_else(|_| panic!("a begin waits behind {meanwhile}"));
    begun.unwrap_or_else(|error| panic!("{meanwhile}: {error}"));
}

#[tokio::test]
async fn calls_that_wait_for_locks_leave_connections_to_other_principals() {
    let sql = "CREATE TABLE a_locked (id int8); CREATE TABLE b_free (id int8)";
    let (database, server, _file) = two_principals(sql).await;
    let mut other = server.client().await.bearing("b");
    assert_begins(&mut other, "first", "b_free", "nothing").await;
    database.execute("BEGIN; LOCK TABLE a_locked").await;
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let address = server.address.clone();
            tokio::spawn(async move {
                let mut client = Client::connect(&address).await.bearing("a");
                let swap =
                    json!({"table": "a_locked", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
                client.begin(&format!("a{number}"), swap, &ids(&[])).await
            })
        })
        .collect();
    let waiting = "SELECT count(*) > 0 FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waits = async || {
        database.execute("SELECT pg_stat_clear_snapshot()").await;
        database.text(waiting).await == "true"
    };
    wait_until(waits, "a call waits for the lock").await;
    for number in 0..5 {
        let id = format!("b{number}");
        assert_begins(&mut other, &id, "b_free", "calls of another principal").await;
    }
    for call in calls {
        let refused = call.await.unwrap().expect_err("the table is locked");
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    }
}

#[tokio::test]
async fn an_abort_does_not_wait_for_a_commit_under_way() {
    let sql = "CREATE TABLE a_locked (id int8)";
    let (database, server, _file) = two_principals(sql).await;
    let mut client = server.client().await.bearing("a");
    let staged = json!({"table": "a_locked", "append": {"publish": "PUBLISH_STAGED"}});
    client.begin("w", staged, &ids(&[])).await.unwrap();
    let put = Put::whole(attempt("w", 0, "a"), &[ids(&[1])]);
    let receipt = client.put(put).await.unwrap();
    database.execute("BEGIN; LOCK TABLE a_locked").await;
    let address = server.address.clone();
    let commit = tokio::spawn(async move {
        let mut client = Client::connect(&address).await.bearing("a");
        client.commit("w", &[receipt]).await
    });
    let waiting = "SELECT count(*) > 0 FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waits = async || {
        database.execute("SELECT pg_stat_clear_snapshot()").await;
        database.text(waiting).await == "true"
    };
    wait_until(waits, "the commit waits for the lock").await;
    let refused = client
        .abort("w")
        .await
        .expect_err("the commit is under way");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(
        refused.message().contains("the write is being committed"),
        "{refused}"
    );
    database.execute("COMMIT").await;
    commit.await.unwrap().unwrap();
    assert_eq!(database.text("SELECT count(*) FROM a_locked").await, "1");
}

#[tokio::test]
async fn a_begin_does_not_wait_behind_sequences_that_are_moved() {
    let sql = "CREATE TABLE a_rows (id int8); CREATE TABLE b_free (id int8);
               CREATE VIEW a_slow AS SELECT id FROM a_rows WHERE pg_sleep(600) IS NOT NULL;
               CREATE SEQUENCE a_sequence OWNED BY a_slow.id;
               CREATE FUNCTION ignore() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
               CREATE TRIGGER ignore INSTEAD OF INSERT ON a_slow FOR EACH ROW EXECUTE FUNCTION ignore();
               INSERT INTO a_rows VALUES (1)";
    let (database, server, _file) = two_principals(sql).await;
    let puts: Vec<_> = (0..4)
        .map(|_| {
            let address = server.address.clone();
            tokio::spawn(async move {
                let mut client = Client::connect(&address).await.bearing("a");
                let spec = json!({"table": "a_slow", "append": {"syncSequences": true}});
                put(&mut client, spec, &ids(&[1])).await
            })
        })
        .collect();
    let sleeping = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let sleeps = async || database.text(sleeping).await != "0";
    wait_until(sleeps, "the sequences are read").await;
    let mut other = server.client().await.bearing("b");
    for number in 0..5 {
        let id = format!("b{number}");
        assert_begins(&mut other, &id, "b_free", "sequences").await;
    }
    puts.iter().for_each(tokio::task::JoinHandle::abort);
}
