//! Passwords for PostgreSQL from variables, files and commands. They appear in no error and no log.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use tonic::Code;

use crate::support::{CallError, Cluster, Database, Pgflight, Put, path, wait_until};

/// A PostgreSQL that asks `loader` for a password, and a folder for the files of a test.
struct Guarded {
    cluster: Cluster,
    database: Database,
    folder: PathBuf,
}

impl Guarded {
    async fn start() -> Self {
        // The default from PostgreSQL 14 on.
        let cluster = Cluster::start_with(&["password_encryption=scram-sha-256"]);
        let database = Database::on(&cluster.url).await;
        let name = format!("pgflight-passwords-{}", uuid::Uuid::new_v4());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let hba = "COPY (SELECT 'host all loader 127.0.0.1/32 scram-sha-256') TO PROGRAM";
        let copy = format!("{hba} 'cat - pg_hba.conf > pg_hba.new && mv pg_hba.new pg_hba.conf'");
        database.execute(&copy).await;
        database
            .execute(
                "SELECT pg_reload_conf();
                 CREATE ROLE loader LOGIN PASSWORD 'planted-1';
                 CREATE ROLE \"the etl\\\" NOLOGIN; GRANT \"the etl\\\" TO loader;
                 CREATE TABLE t (n int, by text DEFAULT current_user);
                 GRANT ALL ON t TO \"the etl\\\", loader",
            )
            .await;
        let guarded = Self {
            cluster,
            database,
            folder,
        };
        wait_until(
            async || {
                tokio_postgres::connect(&guarded.url(""), tokio_postgres::NoTls)
                    .await
                    .is_err()
            },
            "PostgreSQL asks for passwords",
        )
        .await;
        guarded
    }

    /// Returns the URL of `loader`, with this after its name.
    fn url(&self, password: &str) -> String {
        self.database
            .url
            .replace("postgres@", &format!("loader{password}@"))
    }

    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.folder.join(file);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes a program that counts its runs and does this.
    fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.write(
            name,
            &format!("#!/bin/sh\necho run >> \"$0.runs\"\n{script}\n"),
        );
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        path
    }

    fn runs(&self, name: &str) -> usize {
        let runs = self.folder.join(format!("{name}.runs"));
        std::fs::read_to_string(runs)
            .unwrap_or_default()
            .lines()
            .count()
    }

    fn config(&self, keys: &str) -> PathBuf {
        let url = self.url("");
        self.write(
            "pgflight.toml",
            &format!("[targets.only]\npostgres = '{url}'\n{keys}\n"),
        )
    }

    async fn change_password(&self, password: &str) {
        let sql = format!(
            "ALTER ROLE loader PASSWORD '{password}';
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'loader'"
        );
        self.database.execute(&sql).await;
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'loader'";
        let database = &self.database;
        wait_until(
            async || database.text(sessions).await == "0",
            "its sessions end",
        )
        .await;
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
        // Dropping it here drops the database earlier than the end of the test would.
        let _ = &self.cluster;
    }
}

async fn put(server: &Pgflight, number: i32) -> Result<(), CallError> {
    let numbers = Arc::new(Int32Array::from(vec![number])) as ArrayRef;
    let rows = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    let put = Put::whole(path(&["t"]), &[rows]);
    server
        .client()
        .await
        .put(put)
        .await
        .map(|_| ())
        .map_err(CallError::from)
}

fn assert_hidden(server: &Pgflight) {
    let log = server.log().join("\n");
    assert!(!log.contains("planted"), "{log}");
}

/// Logs everything.
const ALL: [&str; 2] = ["--log", "trace"];

#[tokio::test]
async fn passwords_are_read_anew_and_appear_nowhere() {
    let guarded = Guarded::start().await;
    let file = guarded.write("password", "planted-1\n");
    let config = guarded.config(&format!(
        "password_file = '{}'\nrole = 'the etl\\'",
        file.display()
    ));
    let server = Pgflight::start_with_file(&config, &ALL);
    put(&server, 1)
        .await
        .map_err(|error| error.message)
        .unwrap();
    let by = guarded.database.text("SELECT by FROM t").await;
    assert_eq!(by, "the etl\\", "the role was taken");
    guarded.change_password("planted-2").await;
    guarded.write("password", "planted-2");
    put(&server, 2)
        .await
        .map_err(|error| error.message)
        .unwrap();
    guarded.change_password("planted-3").await;
    let error = put(&server, 3)
        .await
        .expect_err("the file has the one before");
    assert_eq!(error.details["sqlstate"], "28P01", "{}", error.message);
    assert_eq!(error.reason, "UNAVAILABLE", "the client is not to blame");
    assert!(!error.message.contains("planted"), "{}", error.message);
    let is_logged = |line: &String| line.contains("refuses the server's own login");
    wait_until(
        async || server.log().iter().any(is_logged),
        "the log says so",
    )
    .await;
    std::fs::remove_file(&file).unwrap();
    let error = put(&server, 3).await.expect_err("there is no file");
    assert_eq!(error.code, Code::Unavailable, "{}", error.message);
    assert!(!error.message.contains("password\""), "{}", error.message);
    let named = format!("could not read {}", file.display());
    let is_logged = || server.log().iter().any(|line| line.contains(&named));
    wait_until(async || is_logged(), "the log says why").await;
    assert_hidden(&server);

    // A command runs once for all connections, and again when PostgreSQL rejects the password.
    let source = guarded.write("printed", "planted-3\n");
    let program = guarded.program(
        "give",
        &format!("echo planted-stderr >&2; cat {}", source.display()),
    );
    let config = guarded.config(&format!(
        "password_command = ['{}', 'planted-argument']",
        program.display()
    ));
    let server = Pgflight::start_with_file(&config, &ALL);
    put(&server, 4)
        .await
        .map_err(|error| error.message)
        .unwrap();
    put(&server, 5)
        .await
        .map_err(|error| error.message)
        .unwrap();
    assert_eq!(guarded.runs("give"), 1);
    guarded.change_password("planted-4").await;
    guarded.write("printed", "planted-4\n");
    put(&server, 6)
        .await
        .map_err(|error| error.message)
        .unwrap();
    assert_eq!(guarded.runs("give"), 2);
    guarded.change_password("planted-5").await;
    let error = put(&server, 7)
        .await
        .expect_err("it prints the old password");
    assert_eq!(error.details["sqlstate"], "28P01", "{}", error.message);
    guarded.program("give", "echo planted; exit 3");
    let error = put(&server, 7).await.expect_err("the command fails");
    assert_eq!(error.code, Code::Unavailable);
    assert!(
        error.message.contains("look into the server's log"),
        "{}",
        error.message
    );
    let failed = format!(
        "the password command {} failed (exit status: 3)",
        program.display()
    );
    let is_logged = || server.log().iter().any(|line| line.contains(&failed));
    wait_until(async || is_logged(), "the log says why").await;
    assert_hidden(&server);
    let rows = "SELECT n FROM t ORDER BY n";
    assert_eq!(guarded.database.text(rows).await, "1,2,4,5,6");

    // A command runs again after its lifetime, before PostgreSQL rejects the password.
    guarded.program("give", "echo planted-5");
    let keys = format!(
        "password_command = ['{}']\npassword_lifetime = '1ms'",
        program.display()
    );
    let server = Pgflight::start_with_file(&guarded.config(&keys), &ALL);
    let before = guarded.runs("give");
    guarded.change_password("planted-5").await;
    put(&server, 8)
        .await
        .map_err(|error| error.message)
        .unwrap();
    assert!(guarded.runs("give") > before);
    assert_hidden(&server);
}

#[tokio::test]
async fn a_wrong_or_missing_password_ends_the_start() {
    let guarded = Guarded::start().await;
    let check = |keys: &str, code: i32, part: &str| {
        let mut command = Pgflight::command();
        command
            .env("TESTED_PASSWORD", "planted-env")
            .args(["serve", "--log", "trace"]);
        command
            .args(["--listen", "127.0.0.1:0", "--config"])
            .arg(guarded.config(keys));
        let output = command.output().unwrap();
        let error = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{keys}: {error}");
        assert!(error.contains(part), "{keys}: {error}");
        assert!(!error.contains("planted"), "{keys}: {error}");
    };
    check(
        "password_env = 'TESTED_PASSWORD'",
        1,
        "authentication failed",
    );
    check(
        "password_env = 'TESTED_NOTHING'",
        64,
        "line 3: target only: the environment variable TESTED_NOTHING",
    );
    check(
        "password_file = 'nowhere'",
        64,
        "line 3: target only: cannot read",
    );
    check(
        "password_command = []",
        64,
        "line 3: target only: the password command is empty",
    );
    check(
        "password_command = ['/nowhere/x']",
        1,
        "/nowhere/x could not be run",
    );
    check("password_command = 'planted'", 64, "line 3");
    check(
        "password_lifetime = '1m'",
        64,
        "line 3: target only: password_lifetime has no password_command",
    );
    let two = "password_env = 'TESTED_PASSWORD'\npassword_command = ['planted']";
    check(two, 64, "line 4: target only has more than one password");
    guarded.change_password("planted-env").await;
    let role = "password_env = 'TESTED_PASSWORD'\nrole = 'no_such_role'";
    check(role, 1, "no_such_role");
    let config = guarded.config("password_env = 'TESTED_PASSWORD'");
    let mut command = Pgflight::command();
    let output = command
        .env("TESTED_PASSWORD", "planted-env")
        .args(["writes", "--config"])
        .arg(config);
    assert_eq!(output.output().unwrap().status.code(), Some(0));
}
