//! Generates `docs/configuration.md` from the code, and checks that the page is up to date.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, CommandFactory};

use super::{OPTIONS, load};
use crate::config::cli::Cli;
use crate::config::example;

const INTRODUCTION: &str = "\
# Configuration

`pgflight serve` takes its options from flags, environment variables, and a file that `--config` (or `PGFLIGHT_CONFIG`)
names. A flag wins over its variable, the variable over the file, and the file over the default. Flags and variables are
enough for one database. Several databases need the file.

The file is TOML. Durations are written as `\"30s\"`, `\"5m\"` or `\"1h 30m\"`, sizes as `\"64MiB\"`. Paths are relative
to the folder of the file, except in connection texts. An unknown key is an error.

- `pgflight config example` prints a file with every key.
- `pgflight config check FILE` reports all problems of a file with their lines, and connects to nothing. Of a
  file that is not TOML it reports the first. Exit status 0 or 64.
- `pgflight check --config FILE` connects to each target and reports what works and what fails, with the SQL that fixes
  it. Exit status 0 or 1.

This page is generated from the code, and a test checks that it is up to date.
";

const RELOAD: &str = "\
## Reload

SIGHUP (`systemctl reload pgflight`) reads the file again. Options with *yes* in the table change for streams,
connections and transactions that begin afterwards. The log names the changes, and those that need a restart. An invalid
file changes nothing, and the log reports all its problems. Certificates are read again when their files change.

A restart loses nothing: after SIGTERM the server rejects new writes and finishes running ones within `--drain-timeout`;
see [operations](operations.md).
";

const PRINCIPALS: &str = "\
## Principals

A principal is an identity with permissions. Calls authenticate as a principal with a token, a JWT or a certificate. If
any principal is configured, the server rejects all other calls. [security.md](security.md) describes authentication and
grants, [operations.md](operations.md) creates a principal, and the file below has every key. `--token-digest` defines a
principal without a file, which may write what the server's role may.
";

const TARGETS: &str = "\
## Targets

A target is a database with a name that you choose: up to 63 ASCII letters, digits, `_` and `-`. Clients name it
(`target=` in Python, option `target` in Spark). Without a name they get `server.default_target`, or the only target.
Without a `[targets]` section there is one target, called `default`, from `--postgres` and libpq's variables.

**Address.** `postgres` is a URL or key=value text as libpq takes it. `PGHOST`, `PGPASSWORD` and libpq's other variables
complete a single target, and do not apply to several. `--postgres` replaces the text of a single target.

**Password.** It comes from one of these sources, and no error or log shows it:

| key | read |
| --- | --- |
| `password_env`: the name of a variable | for every connection; it cannot change while the server runs |
| `password_file`: a file, without the line end at its end | for every connection, so the file can be replaced |
| `password_command`: a program and its arguments, run without a shell | when nine tenths of `password_lifetime` (15m, as for AWS IAM) have passed since the last run, and when PostgreSQL rejects the password |
| in `postgres`, or `PGPASSWORD` | once, at the start |

The server discards what a command writes to standard error. When the command fails, clients get a retryable error, and
the log has the reason.

**Role.** The server sets `role` in each transaction with `SET LOCAL ROLE`. The permissions are those of the role, and
the role owns what the server creates, the ledger and staging tables included. The login must be a member of the role
(`GRANT etl TO loader`), needs no permissions of its own, and may be NOINHERIT. For a principal's tables, the
principal's `role` takes its place; the login must be a member of that role as well. Prepared transactions belong to the
login, since PostgreSQL lets no other role finish them. So all servers of a database must log in as the same role.

An existing ledger keeps its owner. A ledger that the target's role created needs no change. A ledger that the login
created before the target had a role needs a new owner, or grants for the role, which `pgflight check` prints.

The server sets the role with SQL, because poolers reject or drop options at the start of a connection. It sends
`options` in `postgres` and `PGOPTIONS` at the start, as you give them: pgbouncer rejects them, or drops them if
`ignore_startup_parameters` names them. Use `ALTER ROLE … SET` instead.

**Statements.** `[targets.NAME.statements]` has SQL by name, one statement each, which a write may run before and after
its rows ([delivery](delivery.md#statements-around-the-rows)). The statements run in the role that writes the table,
with the `search_path` of the login, so name the schemas of all objects. A principal needs them in `statements` of a
grant, by name or with wildcards. SIGHUP applies changes.

**Limits.** A target's own limits win over those of `[limits]`. A flag wins over both.

**Outages.** If no target can be reached at the start, the start fails. If only some can, the server logs the others,
and serves them as soon as they can be reached.
";

#[test]
fn the_configuration_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = page();
    if std::env::var_os("PGFLIGHT_UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "docs/configuration.md is out of date; generate it: PGFLIGHT_UPDATE=1 cargo test \
         the_configuration_page_is_up_to_date"
    );
}

fn page() -> String {
    let mut page = format!("{INTRODUCTION}\n## Options of the server\n\n");
    page.push_str(
        "*Reload*: whether SIGHUP applies a change.\n\n\
         | option | variable | key of the file | default | reload | meaning |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let keys = keys();
    for argument in serve
        .get_arguments()
        .filter(|argument| argument.get_long().is_some())
    {
        let long = argument.get_long().unwrap();
        if long == "help" || long == "version" {
            continue;
        }
        let variable = argument.get_env().unwrap().to_str().unwrap();
        let key = key_of(argument.get_id().as_str(), &keys);
        writeln!(
            page,
            "| `--{long}` | `{variable}` | {} | {} | {} | {} |",
            key.as_ref()
                .map_or_else(String::new, |key| format!("`{key}`")),
            default_of(argument),
            if is_live(long) { "yes" } else { "" },
            meaning_of(argument),
        )
        .unwrap();
    }
    write!(
        page,
        "\n{RELOAD}\n{TARGETS}\n{PRINCIPALS}\n## A whole file\n\n```toml\n{}```\n",
        example()
    )
    .unwrap();
    page
}

/// Returns the section of each key in the example.
fn keys() -> BTreeMap<&'static str, &'static str> {
    let mut section = "";
    let mut keys = BTreeMap::new();
    for line in example().lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let key = line.trim_start_matches('#').split_once(" = ");
        if let Some((key, _)) = key.filter(|_| !line.starts_with("# ")) {
            // Keys of the server come before a target's keys of the same name.
            keys.entry(key).or_insert(section);
        }
    }
    keys
}

/// Returns the key of an option; `None` for options without one.
fn key_of(option: &str, keys: &BTreeMap<&str, &str>) -> Option<String> {
    let (section, key) = match option {
        // The file has tokens in the sections of principals.
        "config" | "token_digest" => return None,
        "postgres" => ("targets.NAME", "postgres"),
        "log" => ("log", "filter"),
        "log_format" => ("log", "format"),
        "metrics_listen" => ("metrics", "listen"),
        option => (
            *keys
                .get(option)
                .unwrap_or_else(|| panic!("{option} has no key")),
            option,
        ),
    };
    Some(format!("{section}.{key}"))
}

/// Whether a running server applies a change of an option.
fn is_live(long: &str) -> bool {
    let found = OPTIONS.iter().find(|(section, _, flag, ..)| {
        flag.strip_prefix("--") == Some(long) && !section.starts_with("targets")
    });
    let Some((_, _, flag, _, value)) = found else {
        return false;
    };
    let target = "[targets.default]\npostgres = 'host=h user=u'";
    let arguments: Vec<&str> = [*flag, *value]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    let (before, after) = (
        load(target, &[]).unwrap(),
        load(target, &arguments).unwrap(),
    );
    let changes = before.changes(&after);
    !changes.is_empty() && changes.iter().all(|change| !change.needs_restart)
}

fn default_of(argument: &Arg) -> String {
    let values = argument.get_default_values().iter();
    let values: Vec<&str> = values.filter_map(|value| value.to_str()).collect();
    match values.join(" ").as_str() {
        "" | "false" => String::new(),
        value => format!("`{value}`"),
    }
}

fn meaning_of(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    help.replace('\n', " ").replace('|', "\\|")
}
