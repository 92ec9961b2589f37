//! The address of PostgreSQL and the login: a URL or key=value text, completed from libpq's environment.

use std::env::VarError;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::config::{Host, TargetSessionAttrs};

use super::password::{Password, PasswordSource};
use super::tls::{Parameters, Tls};
use crate::error::{Error, Result};
use arrow_pgcopy::Ident;

/// The address of PostgreSQL and the login. `Debug` and `Display` never print the password.
#[derive(Clone)]
pub struct ConnectionConfig {
    driver: tokio_postgres::Config,
    parameters: Parameters,
    tls: Tls,
    password: Option<Arc<Password>>,
    role: Option<Ident>,
}

/// Compares the settings, and not the contents of the files that they name.
impl PartialEq for ConnectionConfig {
    fn eq(&self, other: &Self) -> bool {
        let source = |config: &Self| config.password.as_ref().map(|p| p.source.clone());
        self.driver == other.driver
            && self.parameters == other.parameters
            && source(self) == source(other)
            && self.role == other.role
    }
}

impl ConnectionConfig {
    /// Parses `postgres://user@host:5432/database` or `host=… user=…`. The text may be empty.
    ///
    /// Missing settings come from `variable`, which is called with libpq's names (`PGHOST`, `PGPORT`, `PGUSER`,
    /// `PGPASSWORD`, `PGDATABASE`, `PGOPTIONS`, `PGSSLMODE`, `PGSSLROOTCERT`, `PGSSLCERT`, `PGSSLKEY`,
    /// `PGCONNECT_TIMEOUT`, `PGTARGETSESSIONATTRS`; PostgreSQL manual, 34.15), then from libpq's defaults: the socket
    /// in `/var/run/postgresql` or else `localhost`, port 5432, the user of the process (`USER`), and a database with
    /// the name of the user.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the text, a variable or a file
    /// that it names cannot be read. The error does not repeat the text, which may hold a password.
    pub fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let (rest, parameters) = Parameters::take_from(text);
        // The driver's own message may repeat parts of the text, and so a password.
        let mut driver =
            tokio_postgres::Config::from_str(&rest).map_err(|_| unreadable_text(text))?;
        fill_address(&mut driver, &variable)?;
        fill_identity(&mut driver, &variable);
        fill_behaviour(&mut driver, &variable)?;
        let parameters = parameters.or(&variable);
        let tls = Tls::new(&parameters)?;
        Ok(Self {
            driver,
            parameters,
            tls,
            password: None,
            role: None,
        })
    }

    /// Returns whether the text or libpq's environment has a password.
    pub fn has_password(&self) -> bool {
        self.driver.get_password().is_some()
    }

    /// Returns `sslmode`, if the text or libpq's environment has it.
    pub fn tls_mode(&self) -> Option<&str> {
        self.parameters.mode()
    }

    /// Reads the password from a source whenever a connection is opened.
    pub fn with_password(mut self, source: PasswordSource) -> Self {
        self.password = Some(Arc::new(Password::new(source)));
        self
    }

    /// Runs each transaction in a role, which then owns new tables and whose rights count. The role is set by SQL,
    /// since poolers reject or drop startup parameters.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a name that PostgreSQL cannot hold.
    pub fn with_role(mut self, role: &str) -> Result<Self> {
        self.role = Some(Ident::new(role)?);
        Ok(self)
    }

    /// Parses a connection text as [`ConnectionConfig::parse`] does, with the environment of the process.
    ///
    /// # Errors
    /// The errors of [`ConnectionConfig::parse`].
    pub fn from_environment(text: &str) -> Result<Self> {
        Self::parse(text, |name| match std::env::var(name) {
            Ok(value) if !value.is_empty() => Some(value),
            Ok(_) | Err(VarError::NotPresent | VarError::NotUnicode(_)) => None,
        })
    }

    pub(in crate::pg) fn driver(&self) -> &tokio_postgres::Config {
        &self.driver
    }

    pub(in crate::pg) fn password(&self) -> Option<&Arc<Password>> {
        self.password.as_ref()
    }

    pub(in crate::pg) fn role(&self) -> Option<&Ident> {
        self.role.as_ref()
    }

    pub(in crate::pg) fn tls(&self) -> &Tls {
        &self.tls
    }
}

/// Prints hosts, ports, database and user, for messages.
impl fmt::Display for ConnectionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.driver.get_hosts();
        for (index, host) in hosts.iter().enumerate() {
            let port = match self.driver.get_ports() {
                [] => 5432,
                [port] => *port,
                ports => ports.get(index).copied().unwrap_or(5432),
            };
            let separator = if index > 0 { "," } else { "" };
            match host {
                Host::Tcp(host) => write!(f, "{separator}{host}:{port}")?,
                Host::Unix(folder) => {
                    write!(
                        f,
                        "{separator}{}",
                        folder.join(format!(".s.PGSQL.{port}")).display()
                    )?;
                }
            }
        }
        if let Some(database) = self.driver.get_dbname().or(self.driver.get_user()) {
            write!(
                f,
                " (database {database:?}, user {:?})",
                self.driver.get_user().unwrap_or("?")
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConnectionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionConfig({self})")
    }
}

type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

fn fill_address(config: &mut tokio_postgres::Config, variable: Variable<'_>) -> Result<()> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        match variable("PGHOST") {
            Some(hosts) => hosts.split(',').for_each(|host| {
                config.host(host);
            }),
            None if Path::new(DEFAULT_SOCKET_FOLDER).is_dir() => {
                config.host_path(DEFAULT_SOCKET_FOLDER);
            }
            None => {
                config.host("localhost");
            }
        }
    }
    if config.get_ports().is_empty()
        && let Some(ports) = variable("PGPORT")
    {
        for port in ports.split(',') {
            config.port(
                port.parse()
                    .map_err(|_| unreadable("PGPORT", "a port number"))?,
            );
        }
    }
    Ok(())
}

/// The folder of the socket in Debian's and most distributions' packages.
const DEFAULT_SOCKET_FOLDER: &str = "/var/run/postgresql";

fn fill_identity(config: &mut tokio_postgres::Config, variable: Variable<'_>) {
    if config.get_user().is_none()
        && let Some(user) = variable("PGUSER").or_else(|| variable("USER"))
    {
        config.user(user);
    }
    if config.get_password().is_none()
        && let Some(password) = variable("PGPASSWORD")
    {
        config.password(password);
    }
    if config.get_dbname().is_none()
        && let Some(database) = variable("PGDATABASE")
    {
        config.dbname(database);
    }
    if config.get_options().is_none()
        && let Some(options) = variable("PGOPTIONS")
    {
        config.options(options);
    }
}

fn fill_behaviour(config: &mut tokio_postgres::Config, variable: Variable<'_>) -> Result<()> {
    if config.get_target_session_attrs() == TargetSessionAttrs::Any
        && let Some(attributes) = variable("PGTARGETSESSIONATTRS")
    {
        config.target_session_attrs(match attributes.as_str() {
            "any" => TargetSessionAttrs::Any,
            "read-write" | "primary" => TargetSessionAttrs::ReadWrite,
            _ => return Err(unreadable("PGTARGETSESSIONATTRS", "any or read-write")),
        });
    }
    if config.get_connect_timeout().is_none() {
        let seconds = match variable("PGCONNECT_TIMEOUT") {
            Some(text) => text
                .parse()
                .map_err(|_| unreadable("PGCONNECT_TIMEOUT", "a number of seconds"))?,
            None => 10,
        };
        config.connect_timeout(Duration::from_secs(seconds));
    }
    if config.get_application_name().is_none() {
        config.application_name("pgflight");
    }
    // A database host that vanished must be noticed within seconds, and not after the system's two hours.
    config
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(30));
    Ok(())
}

fn unreadable(name: &str, expected: &str) -> Error {
    Error::invalid_command(format!("the environment variable {name} is not {expected}"))
}

fn unreadable_text(text: &str) -> Error {
    let reason = match text.trim_start().split_once("://") {
        Some(("postgres" | "postgresql", _)) if text.starts_with(' ') => {
            "the text begins with a blank"
        }
        Some(("postgres" | "postgresql", _)) => {
            "the host in brackets, the port or a parameter is wrong"
        }
        Some((scheme, _)) if scheme.starts_with("jdbc:") => "the text is a JDBC URL",
        Some(_) => "the scheme is not postgres://",
        None => "a name before an = sign or a quote is wrong",
    };
    Error::invalid_command(format!(
        "the PostgreSQL connection text cannot be read: {reason}"
    ))
    .with_hint("write postgres://user@host:5432/database or \"host=… user=… dbname=…\"")
}

#[cfg(test)]
mod tests {
    use super::ConnectionConfig;

    fn check(text: &str, environment: &[(&str, &str)], expected: Result<&str, &str>) {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match (ConnectionConfig::parse(text, variable), expected) {
            (Ok(config), Ok(expected)) => assert_eq!(config.to_string(), expected, "{text}"),
            (Err(error), Err(expected)) => {
                let report = error.report().to_string();
                assert!(report.contains(expected), "{text}: {report}");
                assert!(!report.contains("s3cret"), "{text}: {report}");
            }
            (got, expected) => panic!("{text}: {got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn a_config_is_parsed_and_printed_without_its_password() {
        check(
            "postgres://ana:s3cret@db.example:6543/trips",
            &[],
            Ok("db.example:6543 (database \"trips\", user \"ana\")"),
        );
        check(
            "host=/run/pg user=ana password=s3cret",
            &[],
            Ok("/run/pg/.s.PGSQL.5432 (database \"ana\", user \"ana\")"),
        );
        check("postgres://ana:s3cret@[::1", &[], Err("cannot be read"));
        check("host=db password='s3cret", &[], Err("cannot be read"));
        check("jdbc:postgresql://u:s3cret@h/db?ssl=true", &[], Err("JDBC"));
        check("Postgres://u:s3cret@h/db?sslmode=x", &[], Err("scheme"));
        check(" postgres://u:s3cret@h/db?a=b", &[], Err("blank"));
        check("postgres://u@h/db?s3cret=b", &[], Err("parameter"));
    }

    #[test]
    fn a_role_is_no_startup_parameter() {
        let config = ConnectionConfig::parse("host=db user=u options='-c jit=off'", |_| None);
        let config = config.and_then(|config| config.with_role("etl")).unwrap();
        assert_eq!(config.driver().get_options(), Some("-c jit=off"));
        assert_eq!(
            config.role().map(ToString::to_string),
            Some("etl".to_owned())
        );
    }

    #[test]
    fn missing_settings_come_from_libpqs_environment() {
        let environment = [
            ("PGHOST", "db1,db2"),
            ("PGPORT", "6001,6002"),
            ("PGUSER", "ana"),
            ("PGPASSWORD", "s3cret"),
            ("PGDATABASE", "trips"),
        ];
        check(
            "",
            &environment,
            Ok("db1:6001,db2:6002 (database \"trips\", user \"ana\")"),
        );
        check(
            "postgres://bo@db3:7000/x",
            &environment,
            Ok("db3:7000 (database \"x\", user \"bo\")"),
        );
        check("", &[("PGHOST", "db"), ("PGPORT", "s3cret")], Err("PGPORT"));
        let shown = Ok("db:5432 (database \"u\", user \"u\")");
        check("host=db user=u sslmode=require", &[], shown);
        check("host=db sslmode=s3cret", &[], Err("sslmode"));
        check(
            "host=db",
            &[("PGSSLMODE", "verify-full")],
            Err("sslrootcert"),
        );
        check(
            "host=db sslrootcert=/nowhere/ca.crt",
            &[("PGSSLMODE", "verify-ca")],
            Err("/nowhere/ca.crt"),
        );
        check(
            "host=db sslrootcert=system sslmode=verify-full",
            &[],
            Err("ca-certificates"),
        );
        check("host=db sslcert=/nowhere/a.crt", &[], Err("sslkey"));
    }
}
