//! A principal and what it may do.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use wildmatch::WildMatch;

use super::config::{GrantConfig, PrincipalConfig, TokenConfig};
use super::problem::Problem;
use super::token::{Digest, Token};
use super::volume::Volume;
use arrow_pgcopy::table::TableName;
use arrow_pgcopy::{Ident, QualifiedName};

/// Names stand in the ledger, in logs and before write ids.
const MAX_NAME_BYTES: usize = 63;
/// What can be done with a table; the modes of a write, in the words of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// Rows are added.
    Append,
    /// The table is made, or gets columns that it lacks.
    Create,
    /// All rows are replaced.
    Overwrite,
    /// Rows are changed or added by their keys.
    Upsert,
    /// Rows are added unless their keys are there.
    InsertIfAbsent,
    /// Rows are changed by their keys.
    UpdateOnly,
    /// Rows are removed by their keys.
    DeleteByKey,
}

impl WriteMode {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Append,
        Self::Create,
        Self::Overwrite,
        Self::Upsert,
        Self::InsertIfAbsent,
        Self::UpdateOnly,
        Self::DeleteByKey,
    ];
}

impl fmt::Display for WriteMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Append => "append",
            Self::Create => "create",
            Self::Overwrite => "overwrite",
            Self::Upsert => "upsert",
            Self::InsertIfAbsent => "insert_if_absent",
            Self::UpdateOnly => "update_only",
            Self::DeleteByKey => "delete_by_key",
        })
    }
}

/// What a principal may take of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// DoPut streams at once.
    pub max_streams: Option<u32>,
    /// Open writes of many partitions at once.
    pub max_open_writes: Option<u32>,
    /// Bytes of rows a second.
    pub max_bytes_per_second: Option<u64>,
    /// Rows and bytes of one stream and of one write.
    pub volume: Volume,
}

/// Somebody who may call.
#[derive(Debug)]
pub struct Principal {
    name: String,
    pub(super) tokens: Vec<Token>,
    pub(super) jwt_subjects: HashSet<String>,
    pub(super) certificates: HashSet<String>,
    pub(super) grants: Vec<Grant>,
    pub(super) role: Option<Ident>,
    pub(super) limits: Limits,
}

impl Principal {
    /// Checks a configuration; adds what is wrong with it to `problems`.
    pub(super) fn new(name: &str, config: &PrincipalConfig, problems: &mut Vec<Problem>) -> Self {
        let mut said = |what: String| problems.push(Problem::of_principal(name, what));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_plain) {
            said(format!(
                "a name has 1 to {MAX_NAME_BYTES} letters, digits, and characters of \"._@-\""
            ));
        }
        let mut tokens = Vec::new();
        for token in &config.tokens {
            let (digest, expires) = match token {
                TokenConfig::Digest(digest) => (digest, None),
                TokenConfig::Expiring { digest, expires } => (digest, Some(*expires)),
            };
            match Digest::parse(digest) {
                Some(digest) => tokens.push(Token { digest, expires }),
                // It may be the token itself, which must not be shown.
                None => said(
                    "a token is not the digest of one: sha256: and 64 hexadecimal digits, as `pgflight token` prints \
                     them"
                        .to_owned(),
                ),
            }
        }
        let role = config.role.as_ref().and_then(|role| {
            let ident = Ident::new(role);
            ident.map_err(|error| said(format!("role: {error}"))).ok()
        });
        if config
            .max_bytes_per_second
            .is_some_and(|size| size.as_u64() == 0)
        {
            said("max_bytes_per_second is 0, with which nothing is ever written".to_owned());
        }
        if config.max_streams == Some(0) {
            said("max_streams is 0, with which nothing is ever written".to_owned());
        }
        let volume = config.volume();
        for (option, most) in volume.options() {
            if most == Some(0) {
                said(format!("{option} is 0, with which nothing is ever written"));
            }
        }
        let grants = config
            .grants
            .iter()
            .map(|grant| Grant::new(grant, &mut said));
        Self {
            name: name.to_owned(),
            tokens,
            jwt_subjects: config.jwt_subjects.iter().cloned().collect(),
            certificates: config.certificates.iter().cloned().collect(),
            grants: grants.collect(),
            role,
            limits: Limits {
                max_streams: config.max_streams,
                max_open_writes: config.max_open_writes,
                max_bytes_per_second: config.max_bytes_per_second.map(|size| size.as_u64()),
                volume,
            },
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it may take of the server.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}

/// Tables and what may be done with them.
#[derive(Debug)]
pub(super) struct Grant {
    /// Without any, the default one.
    targets: Vec<WildMatch>,
    tables: Vec<(WildMatch, WildMatch)>,
    pub(super) modes: HashSet<WriteMode>,
}

impl Grant {
    fn new(config: &GrantConfig, said: &mut impl FnMut(String)) -> Self {
        let mut tables = Vec::new();
        for pattern in &config.tables {
            match TableName::parse(pattern) {
                Ok(TableName {
                    schema: Some(schema),
                    name,
                }) => {
                    tables.push((
                        WildMatch::new(schema.as_str()),
                        WildMatch::new(name.as_str()),
                    ));
                }
                _ => said(format!(
                    "{pattern:?} does not say which tables; write schema.table, such as \"sales.*\""
                )),
            }
        }
        for (empty, what) in [
            (config.tables.is_empty(), "tables"),
            (config.modes.is_empty(), "modes"),
        ] {
            if empty {
                said(format!("a grant without {what} grants nothing"));
            }
        }
        Self {
            targets: config
                .targets
                .iter()
                .map(|target| WildMatch::new(target))
                .collect(),
            tables,
            modes: config.modes.iter().copied().collect(),
        }
    }

    /// Whether it is about a target, which may be the default one.
    pub(super) fn holds_at(&self, target: &str, is_default: bool) -> bool {
        match self.targets.is_empty() {
            true => is_default,
            false => self.targets.iter().any(|pattern| pattern.matches(target)),
        }
    }

    pub(super) fn covers(&self, table: &QualifiedName) -> bool {
        self.tables.iter().any(|(schema, name)| {
            schema.matches(table.schema.as_str()) && name.matches(table.name.as_str())
        })
    }
}
