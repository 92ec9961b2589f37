//! `docs/configuration.md` is what the code says: made from it, and held to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, CommandFactory};

use super::{OPTIONS, load};
use crate::config::cli::Cli;
use crate::config::example;

const INTRODUCTION: &str = "\
# Configuration

`pgflight serve` is told what to do by flags, by environment variables, and by a file that `--config` (or
`PGFLIGHT_CONFIG`) names. A flag wins over its variable, that over the file, and the file over the default.
For one database, flags and variables are enough; several take the file.

The file is TOML. Durations are written as `\"30s\"`, `\"5m\"` or `\"1h 30m\"`, sizes as `\"64MiB\"`; names of
files are taken from the folder of the file, except in connection texts. A key that is not known is refused.

- `pgflight config example` prints a file with everything in it.
- `pgflight config check FILE` says all that is wrong with one, with the lines, and connects to nothing. Exit
  status 0 or 64.
- `pgflight check --config FILE` connects to each target and says what works there and what will not, with the
  SQL that would mend it. Exit status 0 or 1.

This page is made from the code, and a test holds it to that.
";

const RELOAD: &str = "\
## While it runs

SIGHUP (`systemctl reload pgflight`) reads the file again. Options that the table marks with *yes* change for
streams, connections and transactions that begin from then on; the log names what has changed, and what takes
a restart. A file that does not hold together changes nothing, and the log says all that is wrong with it.
Certificates are read again by themselves when their files change.

A restart loses nothing: SIGTERM refuses new writes and finishes running ones, for as long as `--drain-timeout`
says; see [operations](operations.md).
";

const PRINCIPALS: &str = "\
## Principals

A principal is somebody who may call, known by a token, a JWT or a certificate, and what they may write. Once there
is one, whoever is none is refused. [security.md](security.md) says how callers are known and what a grant allows,
[operations.md](operations.md) makes one, and the file below has every key. `--token-digest` makes one without a
file, who may write what the server's role may.
";

const TARGETS: &str = "\
## Targets

A target is a database, with a name of your own: up to 63 ASCII letters, digits, `_` and `-`. Clients name it
(`target=` in Python, option `target` in Spark); those who do not get `server.default_target`, or the target
that is the only one. Without a `[targets]` section there is one, called `default`, of `--postgres` and libpq's
variables.

**Where it is** is said by `postgres`, a URL or key=value text as libpq takes it. What a single target leaves
out comes from `PGHOST`, `PGPASSWORD` and the like; where there are several, those variables count for none.
`--postgres` replaces the text of a single target.

**Its password** comes from one of these, and is in no error and no log:

| key | is asked |
| --- | --- |
| `password_env`: a variable's name | for every connection; it cannot change while the server runs |
| `password_file`: a file, without the line end at its end | for every connection, so that it may be exchanged |
| `password_command`: a program and its arguments, without a shell | when nine tenths of `password_lifetime` (15m, as AWS's IAM has it) have passed since it last ran, and when PostgreSQL refuses what it printed |
| in `postgres`, or `PGPASSWORD` | once, at the start |

What a command writes to standard error is thrown away. When it fails, streams are told to try again, and
the log says why.

**Its role**, `role`, is taken in each transaction by `SET LOCAL ROLE`: rights are those of the role, and what is
made belongs to it, the ledger and staging tables included. The login has to be a member of it (`GRANT etl TO loader`),
and needs no rights of its own; it may be NOINHERIT. A principal's `role` counts in its place for what the principal does
to tables; the login has to be a member of that one as well. Prepared transactions belong to the login, since PostgreSQL
lets no other role end them: all servers of a database log in as the same role.

A ledger that was made before stays whose it is. One that the target's role made, by whichever version, goes on as it
is. One that the login made before the target had a role needs a new owner or grants for the role:
`pgflight check` prints them.

The role is set by SQL because poolers refuse or drop what is asked for at the start of a connection. `options` in
`postgres` and `PGOPTIONS` are sent there, as you give them: pgbouncer refuses them, or drops them where
`ignore_startup_parameters` names them. Use `ALTER ROLE … SET` instead.

**Its limits** are its own where it has some, else those of `[limits]`. A flag wins over both.

**One that cannot be reached** when the server starts ends the start if there is no other that can. Else the
server says so, serves the others, and serves this one as soon as it is back.
";

#[test]
fn the_page_says_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = page();
    if std::env::var_os("PGFLIGHT_UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "docs/configuration.md is not what the code says; make it anew: PGFLIGHT_UPDATE=1 cargo test \
         the_page_says_what_the_code_says"
    );
}

fn page() -> String {
    let mut page = format!("{INTRODUCTION}\n## Options of the server\n\n");
    page.push_str(
        "*Reload*: whether SIGHUP changes it.\n\n\
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

/// Key to section, of the example.
fn keys() -> BTreeMap<&'static str, &'static str> {
    let mut section = "";
    let mut keys = BTreeMap::new();
    for line in example().lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let key = line.trim_start_matches('#').split_once(" = ");
        if let Some((key, _)) = key.filter(|_| !line.starts_with("# ")) {
            // The server's own come before those of a target that have the same name.
            keys.entry(key).or_insert(section);
        }
    }
    keys
}

/// The key that stands for an option; none for those that say where the file or the database is.
fn key_of(option: &str, keys: &BTreeMap<&str, &str>) -> Option<String> {
    let (section, key) = match option {
        // Tokens stand with their principals.
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

/// Whether a running server takes another value of an option.
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
