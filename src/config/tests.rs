//! The precedence of flag, file and default, and the report of problems.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::CommandFactory;

use super::cli::{Cli, Command, Serve};
use super::load::Config;
use super::{example, file::File, problems::Problems};

mod page;

/// A temporary file, removed when it is dropped.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(text: &str) -> Self {
        let name = format!("pgflight-config-{}.toml", uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn serve(arguments: &[&str]) -> Serve {
    let arguments = ["pgflight", "serve"].iter().chain(arguments);
    let Command::Serve(options) = Cli::read_from(arguments).unwrap().command else {
        panic!("`serve` is another command");
    };
    *options
}

fn load(text: &str, arguments: &[&str]) -> Result<Config, String> {
    let file = TemporaryFile::new(text);
    let path = file.0.to_str().unwrap().to_owned();
    let options = serve(&[&["--config", &path], arguments].concat());
    Config::load(&options).map_err(|error| error.to_string().replace(&path, "FILE"))
}

/// Section and key of the file, the flag, and two values that are not the default: one for the file and one for the
/// command line.
const OPTIONS: [(&str, &str, &str, &str, &str); 40] = [
    (
        "server",
        "listen",
        "--listen",
        "\"127.0.0.1:1\"",
        "127.0.0.1:2",
    ),
    ("server", "insecure", "--insecure", "true", ""),
    (
        "server",
        "max_connection_age",
        "--max-connection-age",
        "\"7s\"",
        "8s",
    ),
    ("server", "drain_timeout", "--drain-timeout", "\"7s\"", "8s"),
    ("limits", "max_copies", "--max-copies", "7", "8"),
    ("limits", "copy_wait", "--copy-wait", "\"7s\"", "8s"),
    (
        "limits",
        "copy_stall_timeout",
        "--copy-stall-timeout",
        "\"7s\"",
        "8s",
    ),
    ("limits", "max_transactions", "--max-transactions", "7", "8"),
    (
        "limits",
        "transaction_idle_timeout",
        "--transaction-idle-timeout",
        "\"7s\"",
        "8s",
    ),
    (
        "limits",
        "pool_idle_timeout",
        "--pool-idle-timeout",
        "\"7s\"",
        "8s",
    ),
    ("limits", "fan_out", "--fan-out", "7", "8"),
    (
        "limits",
        "fan_out_after",
        "--fan-out-after",
        "\"7MiB\"",
        "8MiB",
    ),
    ("limits", "lock_timeout", "--lock-timeout", "\"7s\"", "8s"),
    (
        "limits",
        "max_message_size",
        "--max-message-size",
        "\"7MiB\"",
        "8MiB",
    ),
    (
        "limits",
        "memory_limit",
        "--memory-limit",
        "\"7GiB\"",
        "8GiB",
    ),
    ("limits", "idle_timeout", "--idle-timeout", "\"7s\"", "8s"),
    (
        "limits",
        "stream_timeout",
        "--stream-timeout",
        "\"7s\"",
        "8s",
    ),
    ("limits", "max_connections", "--max-connections", "7", "8"),
    (
        "limits",
        "max_connections_per_peer",
        "--max-connections-per-peer",
        "7",
        "8",
    ),
    ("writes", "write_ttl", "--write-ttl", "\"7s\"", "8s"),
    ("writes", "prepared_ttl", "--prepared-ttl", "\"7s\"", "8s"),
    ("writes", "driver_ttl", "--driver-ttl", "\"7s\"", "8s"),
    ("writes", "retention", "--retention", "\"8s\"", "9s"),
    (
        "writes",
        "reaper_interval",
        "--reaper-interval",
        "\"7s\"",
        "8s",
    ),
    ("log", "format", "--log-format", "\"json\"", "text"),
    ("log", "filter", "--log", "\"debug\"", "trace"),
    ("log", "show_detail", "--show-detail", "true", ""),
    (
        "metrics",
        "listen",
        "--metrics-listen",
        "\"127.0.0.1:1\"",
        "127.0.0.1:2",
    ),
    ("targets.default", "max_copies", "--max-copies", "7", "8"),
    (
        "targets.default",
        "lock_timeout",
        "--lock-timeout",
        "\"7s\"",
        "8s",
    ),
    (
        "limits",
        "max_rows_per_stream",
        "--max-rows-per-stream",
        "7",
        "8",
    ),
    (
        "limits",
        "max_bytes_per_stream",
        "--max-bytes-per-stream",
        "\"7MiB\"",
        "8MiB",
    ),
    (
        "limits",
        "max_rows_per_write",
        "--max-rows-per-write",
        "7",
        "8",
    ),
    (
        "limits",
        "max_bytes_per_write",
        "--max-bytes-per-write",
        "\"7MiB\"",
        "8MiB",
    ),
    ("limits", "max_expansion", "--max-expansion", "7", "8"),
    (
        "targets.default",
        "max_rows_per_stream",
        "--max-rows-per-stream",
        "7",
        "8",
    ),
    (
        "targets.default",
        "max_bytes_per_stream",
        "--max-bytes-per-stream",
        "\"7MiB\"",
        "8MiB",
    ),
    (
        "targets.default",
        "max_rows_per_write",
        "--max-rows-per-write",
        "7",
        "8",
    ),
    (
        "targets.default",
        "max_bytes_per_write",
        "--max-bytes-per-write",
        "\"7MiB\"",
        "8MiB",
    ),
    (
        "targets.default",
        "max_expansion",
        "--max-expansion",
        "7",
        "8",
    ),
];

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let shown = |text: &str, arguments: &[&str]| {
        let text = match text.contains("[targets.default]") {
            true => text.replace(
                "[targets.default]",
                "[targets.default]\npostgres = 'host=h user=u'",
            ),
            false => format!("[targets.default]\npostgres = 'host=h user=u'\n{text}"),
        };
        format!("{:?}", load(&text, arguments).unwrap())
    };
    let default = shown("", &[]);
    for (section, key, flag, in_file, typed) in OPTIONS {
        let text = format!("[{section}]\n{key} = {in_file}\n");
        let arguments: Vec<&str> = [flag, typed]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        // `insecure` has an effect only with such an address.
        let (text, listen): (_, &[&str]) = match key {
            "insecure" => (text, &["--listen", "0.0.0.0:1"]),
            _ => (text, &[]),
        };
        let from_file = shown(&text, listen);
        assert_ne!(from_file, default, "{section}.{key} is taken from the file");
        let both = shown(&text, &[&arguments, listen].concat());
        let alone = shown("", &[&arguments, listen].concat());
        assert_eq!(both, alone, "{flag} wins over {section}.{key}");
    }
}

#[test]
fn every_server_option_has_a_key_in_the_file() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let options: BTreeSet<String> = serve
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .map(|name| format!("--{name}"))
        .collect();
    // Options that other tests cover, or that have no key.
    let elsewhere = [
        "--config",
        "--postgres",
        "--tls-cert",
        "--tls-key",
        "--tls-client-ca",
        // A principal, in the file.
        "--token-digest",
    ];
    let tried = OPTIONS.iter().map(|(_, _, flag, ..)| *flag);
    let known: BTreeSet<String> = tried.chain(elsewhere).map(str::to_owned).collect();
    assert_eq!(options, known);
}

#[test]
fn the_example_has_every_key_at_its_default() {
    let all: String = example()
        .lines()
        .map(|line| {
            let is_key = line
                .strip_prefix('#')
                .filter(|rest| rest.contains(" = ") && !rest.starts_with(' '));
            format!("{}\n", is_key.unwrap_or(line))
        })
        .collect();
    // Sections that are examples have a space after the #.
    let is_plain = |c: char| c.is_ascii_lowercase() || c == '_';
    let whole: String = all
        .lines()
        .map(|line| {
            let example = line.strip_prefix("# ").filter(|rest| {
                let key = rest.split_once(" = ").map(|(key, _)| key);
                rest.starts_with('[') || key.is_some_and(|key| key.chars().all(is_plain))
            });
            format!("{}\n", example.unwrap_or(line))
        })
        .collect();
    let mut problems = Problems::without_file();
    File::parse(&whole, &mut problems);
    problems.into_result().unwrap();
    // The error about an unknown key lists all keys of a section.
    for section in [
        "server",
        "limits",
        "writes",
        "log",
        "auth",
        "auth.jwt",
        "principals.etl",
        "metrics",
        "targets.trips",
    ] {
        let error = load(&format!("[{section}]\nx = 1"), &[]).unwrap_err();
        let start = format!("[{section}]\n");
        let (_, rest) = whole.split_once(&start).unwrap();
        let body = rest.split_once("\n[").map_or(rest, |(body, _)| body);
        // The file may have other problems as well.
        let unknown = error
            .lines()
            .find(|line| line.contains("unknown field `x`"));
        let keys: Vec<&str> = unknown.unwrap().split('`').skip(3).step_by(2).collect();
        assert!(!keys.is_empty(), "{error}");
        for key in keys {
            let is_there = body
                .lines()
                .any(|line| line.starts_with(&format!("{key} = ")));
            let is_there = is_there || whole.contains(&format!("[{section}.{key}]"));
            assert!(is_there, "{section}.{key} is not in the example");
        }
    }
    // Without the examples of keys that have no default, every value is the default.
    let without = [
        "tls_",
        "default_target",
        "listen = \"127.0.0.1:9187\"",
        "password_",
        "role",
        "session_key_file",
        "max_rows_per_",
        "max_bytes_per_",
    ];
    let defaults: String = all
        .lines()
        .filter(|line| !without.iter().any(|start| line.starts_with(start)))
        .map(|line| format!("{line}\n"))
        .collect();
    let shown = |text: &str| format!("{:?}", load(text, &[]).unwrap());
    assert_eq!(shown(&defaults), shown(example()));
}

fn check(text: &str, expected: &[&str]) {
    let reported = load(text, &[]).expect_err(text);
    let lines: Vec<&str> = reported.lines().collect();
    let lines = match lines.as_slice() {
        [_, rest @ ..] if !rest.is_empty() => rest,
        lines => lines,
    };
    assert_eq!(lines.len(), expected.len(), "{reported}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{expected:?} is not in {line:?}");
    }
    assert!(!reported.contains("s3cret"), "{reported}");
}

#[test]
fn statements_that_cannot_run_within_a_write_are_reported() {
    check(
        "[targets.a]
         postgres = 'host=h'
         [targets.a.statements]
         good = 'REFRESH MATERIALIZED VIEW public.totals'
         ends = '/* s3cret */ ; Commit'
         loads = 'COPY public.t TO STDOUT'
         'in valid' = 'VACUUM'
         empty = ' '",
        &[
            "line 5: target a: statement ends begins with COMMIT, which cannot run within a write",
            "line 6: target a: statement loads begins with COPY",
            "line 7: target a: statement \"in valid\" has an invalid name",
            "line 8: target a: statement empty is empty",
        ],
    );
}

#[test]
fn all_problems_are_reported_with_lines_and_without_values() {
    check(
        "[server]
         lisen = '0.0.0.0:1'
         tls_cert = '/nowhere/a.crt'
         tls_key = '/nowhere/a.key'
         drain_timeout = 30
         [limits]
         memory_limit = 's3cret'
         max_copies = 1001
         idle_timeout = '5 parsecs'
         [targets.a]
         postgres = 'postgres://u:s3cret@[::1'
         password = 's3cret'
         max_copies = 's3cret'
         [targets.b]
         postgres = 'host=h sslmode=verify-full'
         [targets.'c d']
         max_copies = 3
         [nonsense]
         x = 's3cret'
         y = 's3cret'",
        &[
            "FILE, line 2: unknown field `lisen`, expected one of `listen`",
            "FILE, line 3: cannot read /nowhere/a.crt",
            "FILE, line 5: server.drain_timeout: invalid type: integer `30`, expected a duration with its unit",
            "FILE, line 7: limits.memory_limit: expected a size with its unit",
            "FILE, line 8: limits.max_copies: expected a whole number from 1 to 1000",
            "FILE, line 9: limits.idle_timeout: expected a duration with its unit",
            "FILE, line 11: target a: the PostgreSQL connection text cannot be read",
            "FILE, line 12: unknown field `password`",
            "FILE, line 13: targets.a.max_copies: invalid type: a text, expected a whole number",
            "FILE, line 15: target b: sslmode=verify-full needs the authorities",
            "FILE, line 16: target \"c d\" has an invalid name",
            "FILE, line 16: target c d has no postgres",
            "FILE, line 18: unknown field `nonsense`",
        ],
    );
    check(
        "[server]\ndefault_target = 'x'\nlisten = '0.0.0.0:1'\n[targets.a]\npostgres = 'host=h'",
        &[
            "--insecure",
            "FILE, line 2: the file has no section [targets.x]",
        ],
    );
    check(
        "[limits]\nmemory_limit = '32MiB'\n[log]\nfilter = '=,='",
        &["--log", "--memory-limit is too small"],
    );
    check("[server\nlisten = 's3cret'", &["FILE, line 1: not TOML"]);
    check(
        "[targets.a]\npostgres = 'host=h'\n[targets.a]\npostgres = 'host=h'",
        &[
            "FILE, line 3: not TOML: duplicate key a",
            "FILE, line 4: not TOML: duplicate key postgres",
        ],
    );
    // Keys of every level and values of every kind.
    let postgres = "[targets.a]\npostgres = 'host=h'\n";
    check(
        &format!(
            "listen = 's3cret'
             [limits]
             max_copies = -1
             copy_wait = '1h30'
             fan_out_after = '1.5'
             max_connections = 99999
             [writes]
             write_ttl = '-1s'
             retention = ''
             [log]
             format = 'xml'
             filter = 3
             [auth]
             jwt = 3
             fob = 's3cret'
             [principals.a]
             tokens = ['s3cret']
             token = 's3cret'
             grants = [{{ tables = ['x.*'], modes = ['apend'] }}]
             [principals.b]
             tokens = 's3cret'
             grants = [{{ table = ['x.*'] }}]
             {postgres}
             password_file = '/'
             max_copy = 3"
        ),
        &[
            "FILE, line 1: unknown field `listen`, expected one of `server`, `limits`",
            "FILE, line 3: limits.max_copies: expected a whole number from 1 to 1000",
            "FILE, line 4: limits.copy_wait: expected a duration with its unit in quotes, such as",
            "FILE, line 5: limits.fan_out_after: expected a size with its unit in quotes, such as",
            "FILE, line 6: limits.max_connections: expected a whole number from 1 to 65535",
            "FILE, line 8: writes.write_ttl: expected a duration",
            "FILE, line 9: writes.retention: expected a duration",
            "FILE, line 11: log.format: unknown variant `xml`, expected `text` or `json`",
            "FILE, line 12: log.filter: invalid type: integer `3`, expected a text in quotes",
            "FILE, line 14: auth.jwt: invalid type: integer `3`, expected a section",
            "FILE, line 15: unknown field `fob`, expected one of `session_key_file`",
            "FILE, line 16: principals.a: a token is not a digest of a token",
            "FILE, line 18: unknown field `token`, expected one of `tokens`",
            "FILE, line 19: principals.a.grants: unknown variant `apend`, expected one of `append`",
            "FILE, line 21: principals.b.tokens: invalid type: a text, expected a list",
            "FILE, line 22: unknown field `table`, expected one of `targets`, `tables`, `modes`",
            "FILE, line 26: target a: cannot read /: Is a directory",
            "FILE, line 27: unknown field `max_copy`",
        ],
    );
    check(
        "[principals.a]\n[principals.a]",
        &["FILE, line 2: not TOML: duplicate key a"],
    );
    let digest = "0".repeat(64);
    check(
        &format!(
            "[principals.a]\ntokens = ['sha256:{digest}']\n[principals.b]\ntokens = ['sha256:{digest}']"
        ),
        &["FILE, line 3: principals.b: a token is also listed for principal a"],
    );
    check(
        "[server]\nlisten = '127.0.0.1:1'\n[metrics]\nlisten = '127.0.0.1:1'",
        &[
            "--listen and --metrics-listen (in the file server.listen and metrics.listen) are both 127.0.0.1:1",
        ],
    );
    // A byte order mark and line ends of other systems.
    check(
        "\u{feff}[server]\r\nlisen = 1\r\n",
        &["FILE, line 2: unknown field `lisen`"],
    );
    check("a\n", &["FILE, line 1: not TOML: key with no value"]);
}
