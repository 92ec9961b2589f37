//! `pgflight check`, and other output of the command line.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::support::{Certificates, Cluster, Database, Pgflight};

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Pgflight::command().args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Checks a database and a table of it, and expects an exit status and these parts of the output.
fn check(url: &str, arguments: &[&str], code: i32, expected: &[&str]) -> String {
    let arguments = [&["check", "--postgres", url], arguments].concat();
    let (status, text) = run(&arguments);
    assert_eq!(status, Some(code), "{text}");
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    text
}

/// A role of the test's own, for its database.
async fn loader(database: &Database) -> (String, String) {
    let role = format!("loader_{}", uuid::Uuid::new_v4().simple());
    database.execute(&format!("CREATE ROLE {role} LOGIN")).await;
    let url = database.url.replace("postgres@", &format!("{role}@"));
    (role, url)
}

#[tokio::test]
async fn check_reports_problems_with_the_sql_that_fixes_them() {
    let database = Database::new().await;
    check(
        &database.url,
        &[],
        0,
        &[
            "ok       PostgreSQL",
            "this machine",
            "is created when it is first needed",
        ],
    );
    let (role, url) = loader(&database).await;
    let ledger = format!("CREATE SCHEMA pgflight AUTHORIZATION {role};");
    check(&url, &[], 1, &["FAILS    there is no ledger", &ledger]);
    database.execute(&ledger).await;
    check(&url, &[], 0, &["is created when it is first needed"]);
    assert_eq!(run(&["migrate", "--postgres", &database.url]).0, Some(0));
    let grants = [
        format!("GRANT SELECT ON ALL TABLES IN SCHEMA pgflight TO {role};"),
        format!("GRANT DELETE ON ALL TABLES IN SCHEMA pgflight TO {role};"),
    ];
    database
        .execute(&format!(
            "ALTER SCHEMA pgflight OWNER TO postgres; REVOKE ALL ON SCHEMA pgflight FROM {role}"
        ))
        .await;
    let text = check(&url, &[], 1, &["may not do all", &grants[0], &grants[1]]);
    // The statements of the output fix it.
    for statement in text
        .lines()
        .filter(|line| line.trim_start().starts_with("GRANT"))
    {
        database.execute(statement).await;
    }
    check(&url, &[], 0, &["the ledger (schema pgflight) is there"]);
    database
        .execute(&format!(
            "ALTER ROLE {role} CONNECTION LIMIT 5; ALTER ROLE {role} SET statement_timeout = '30s'"
        ))
        .await;
    let name = database.text("SELECT current_database()").await;
    database
        .execute(&format!("REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC"))
        .await;
    let text = check(
        &url,
        &[],
        1,
        &[
            "up to 33 connections",
            "allows 5",
            "statement_timeout = 30s",
            "temporary tables",
        ],
    );
    let fixes = text.lines().filter(|line| {
        ["ALTER", "GRANT"]
            .iter()
            .any(|verb| line.trim_start().starts_with(verb))
    });
    for statement in fixes {
        if !statement.contains("SYSTEM") {
            database.execute(statement).await;
        }
    }
    let text = check(&url, &[], 0, &["up to 33 connections"]);
    assert!(
        !text.contains("statement_timeout") && !text.contains("temporary"),
        "{text}"
    );
    database
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
    check(
        "postgres://ana:s3cret@127.0.0.1:1/x",
        &[],
        1,
        &["FAILS    could not connect to PostgreSQL at 127.0.0.1:1"],
    );
}

#[tokio::test]
async fn check_reports_each_mode_for_a_table() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE plain (n int);
             CREATE TABLE keyed (a int, \"B\" int, v text, UNIQUE (a, \"B\"));
             CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER watched BEFORE INSERT ON keyed FOR EACH ROW EXECUTE FUNCTION nothing();
             CREATE TABLE secured (n int); ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
             ALTER TABLE secured FORCE ROW LEVEL SECURITY",
        )
        .await;
    let (role, url) = loader(&database).await;
    let migrated = format!(
        "CREATE SCHEMA pgflight AUTHORIZATION {role}; GRANT INSERT ON plain, secured TO {role}"
    );
    database.execute(&migrated).await;
    let plain = [
        "ok       append of many partitions: partitions wait in the table",
        "ok       overwrite with swap",
        "warning  upsert and insert_if_absent: there is no unique index",
        "CREATE UNIQUE INDEX ON public.plain (",
    ];
    check(&database.url, &["--table", "plain"], 0, &plain);
    let keyed = [
        "through a staging table, since it has a unique index",
        "by the keys (a, \"B\")",
        "triggers run for the rows and may change them: watched",
        "warning  overwrite with swap: a swap of the table would lose",
    ];
    check(&database.url, &["--table", "public.keyed"], 0, &keyed);
    let granted = format!("GRANT TRUNCATE ON public.plain TO {role};");
    let others = [
        "warning  overwrite with truncate: role ",
        &granted,
        "only the owner of the table can swap",
    ];
    check(&url, &["--table", "plain"], 0, &others);
    check(
        &url,
        &["--table", "secured"],
        0,
        &["takes no COPY here (row-level security"],
    );
    let insert = format!("GRANT INSERT ON public.keyed TO {role};");
    check(
        &url,
        &["--table", "keyed"],
        1,
        &["FAILS    no mode: role ", &insert],
    );
    check(
        &url,
        &["--table", "Plain"],
        1,
        &["FAILS    \"Plain\": the table does not exist; there is a table public.plain"],
    );
    let (code, text) = run(&["check", "--postgres", &url, "--table", "a.b.c.d"]);
    assert_eq!(code, Some(64), "{text}");
    database
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
}

#[tokio::test]
async fn check_compares_settings_with_what_a_server_needs() {
    let cluster = Cluster::start_with(&["max_prepared_transactions=0", "max_connections=15"]);
    let fixed = [
        "ALTER SYSTEM SET max_connections = 133; -- and restart",
        "FAILS    a server takes up to 33 connections; max_connections allows 15",
        "warning  max_prepared_transactions is 0",
        "ALTER SYSTEM SET max_prepared_transactions",
    ];
    check(&cluster.url, &[], 1, &fixed);
    // With a limit that fits, and TLS as configured.
    let certificates = Certificates::new();
    let file = certificates.path("pgflight.toml");
    let text = format!(
        "[limits]\nmax_copies = 4\nmax_transactions = 2\n[targets.a]\npostgres = '{0}?sslmode=disable'\n[targets.b]\npostgres = '{0}'\n",
        cluster.url
    );
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let (code, text) = run(&["check", "--config", file]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("up to 15 connections").count(), 2, "{text}");
    let (_, text) = run(&["check", "--config", file, "--target", "b"]);
    assert!(
        text.starts_with("target b: ") && !text.contains("target a"),
        "{text}"
    );
    let (code, text) = run(&["check", "--config", file, "--table", "t"]);
    assert_eq!(code, Some(64), "{text}");
}

#[tokio::test]
async fn watched_writes_print_lines_or_draw_on_a_terminal() {
    let database = Database::new().await;
    let arguments = [
        "writes",
        "--watch",
        "--interval",
        "20ms",
        "--postgres",
        &database.url,
    ];
    let mut lines = Pgflight::command();
    let lines = lines.args(arguments).stdout(Stdio::piped());
    let mut lines = Running(lines.spawn().unwrap());
    // util-linux's script gives its command a terminal.
    let command = [&[env!("CARGO_BIN_EXE_pgflight")][..], &arguments]
        .concat()
        .join(" ");
    let mut drawn = Command::new("script");
    let drawn = drawn
        .args(["-qefc", &command, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null());
    let mut drawn = Running(drawn.stdout(Stdio::piped()).spawn().unwrap());
    let expect = |source: std::process::ChildStdout| {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(source)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        move |part: &str| loop {
            let line = receiver.recv_timeout(Duration::from_secs(30)).expect(part);
            if line.contains(part) {
                return line;
            }
        }
    };
    let line_about = expect(lines.0.stdout.take().unwrap());
    let shown = expect(drawn.0.stdout.take().unwrap());
    shown("\x1b[HWRITE");
    assert_eq!(
        run(&["abort", "w1", "--force", "--postgres", &database.url]).0,
        Some(0)
    );
    assert_eq!(
        line_about("w1"),
        "w1 aborted: 0 rows in 0 attempts: aborted by hand"
    );
    assert!(shown("w1").contains("aborted"));
    assert_eq!(
        run(&[
            "abort",
            "w2",
            "--force",
            "--reason",
            "why not",
            "--postgres",
            &database.url
        ])
        .0,
        Some(0)
    );
    // A change is printed once.
    assert_eq!(line_about("w"), "w2 aborted: 0 rows in 0 attempts: why not");
    assert_eq!(lines.end("INT").code(), Some(0));
}

/// A process of the test, which does not outlive it.
struct Running(Child);

impl Running {
    fn end(&mut self, signal: &str) -> ExitStatus {
        let pid = self.0.id().to_string();
        // The process may have ended by itself.
        let _ = Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status();
        self.0.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // `script` ends its command when it is asked to end, and not when it is killed.
        self.end("TERM");
    }
}

#[test]
fn completions_and_manual_pages_know_every_subcommand() {
    let subcommands = [
        "serve",
        "check",
        "config",
        "migrate",
        "plan",
        "writes",
        "abort",
        "completions",
        "man",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let (code, script) = run(&["completions", shell]);
        assert_eq!(code, Some(0));
        for name in subcommands.iter().chain(&["max-copies", "drain-timeout"]) {
            assert!(
                script.contains(name),
                "{name} is not in the completions of {shell}"
            );
        }
    }
    let parsed = Command::new("bash")
        .args(["-nc", &run(&["completions", "bash"]).1])
        .status();
    assert!(parsed.unwrap().success());
    let (code, page) = run(&["man"]);
    assert_eq!(code, Some(0));
    assert!(
        page.contains(".TH pgflight 1") && page.contains("pgflight\\-serve(1)"),
        "{page}"
    );
    let folder = std::env::temp_dir().join(format!("pgflight-man-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(run(&["man", folder.to_str().unwrap()]).0, Some(0));
    for name in subcommands {
        let page = std::fs::read_to_string(folder.join(format!("pgflight-{name}.1")));
        assert!(page.unwrap().contains(".SH NAME"));
    }
    std::fs::remove_dir_all(folder).unwrap();
}
