//! A principal and its permissions.

use std::collections::HashSet;

use wildmatch::WildMatch;

use super::config::{GrantConfig, PrincipalConfig, TokenConfig};
use super::credentials::token::{Digest, Token};
use super::mode::WriteMode;
use super::problem::Problem;
use super::volume::Volume;
use arrow_pgcopy::table::TableName;
use arrow_pgcopy::{Ident, QualifiedName};

/// The length limit of a name, which stands in the ledger, in logs and before write ids.
const MAX_NAME_BYTES: usize = 63;

/// The limits of a principal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent DoPut streams.
    pub max_streams: Option<u32>,
    /// Open writes of many partitions.
    pub max_open_writes: Option<u32>,
    /// Bytes of rows per second.
    pub max_bytes_per_second: Option<u64>,
    /// Rows and bytes of one stream and of one write.
    pub volume: Volume,
}

/// A principal: an identity that calls authenticate as.
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
    /// Reads a configuration and adds its problems to `problems`.
    pub(super) fn new(name: &str, config: &PrincipalConfig, problems: &mut Vec<Problem>) -> Self {
        let problem = |message: String| Problem::of_principal(name, message);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_plain) {
            problems.push(
                problem("the name is not valid".to_owned()).with_hint(format!(
                    "use 1 to {MAX_NAME_BYTES} ASCII letters, digits, and characters of \"._@-\""
                )),
            );
        }
        let mut tokens = Vec::new();
        for token in &config.tokens {
            let (digest, expires) = match token {
                TokenConfig::Digest(digest) => (digest, None),
                TokenConfig::Expiring { digest, expires } => (digest, Some(*expires)),
            };
            match Digest::parse(digest) {
                Some(digest) => tokens.push(Token { digest, expires }),
                // The text may be the token itself, which no message may show.
                None => problems.push(
                    problem("a token is not a digest of a token".to_owned()).with_hint(
                        "write sha256: and 64 hexadecimal digits, as `pgflight token` prints them",
                    ),
                ),
            }
        }
        let role = config.role.as_ref().and_then(|role| {
            let ident = Ident::new(role);
            ident
                .map_err(|error| problems.push(problem(format!("role: {error}"))))
                .ok()
        });
        let volume = config.volume();
        let rate = config.max_bytes_per_second.map(|size| size.as_u64());
        let limits = [
            ("max_bytes_per_second", rate),
            ("max_streams", config.max_streams.map(u64::from)),
        ];
        for (option, limit) in limits.into_iter().chain(volume.options()) {
            if limit == Some(0) {
                problems.push(problem(format!("{option} is not greater than 0")));
            }
        }
        let grants = config
            .grants
            .iter()
            .map(|grant| Grant::new(name, grant, problems))
            .collect();
        Self {
            name: name.to_owned(),
            tokens,
            jwt_subjects: config.jwt_subjects.iter().cloned().collect(),
            certificates: config.certificates.iter().cloned().collect(),
            grants,
            role,
            limits: Limits {
                max_streams: config.max_streams,
                max_open_writes: config.max_open_writes,
                max_bytes_per_second: rate,
                volume,
            },
        }
    }

    /// Returns its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}

/// The permission for some modes on some tables.
#[derive(Debug)]
pub(super) struct Grant {
    /// Patterns of targets; without any, the default target.
    targets: Vec<WildMatch>,
    tables: Vec<(WildMatch, WildMatch)>,
    pub(super) modes: HashSet<WriteMode>,
    /// Patterns of statements of the operator.
    statements: Vec<WildMatch>,
}

impl Grant {
    fn new(principal: &str, config: &GrantConfig, problems: &mut Vec<Problem>) -> Self {
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
                _ => problems.push(
                    Problem::of_principal(
                        principal,
                        format!("{pattern:?} is not a pattern for tables"),
                    )
                    .with_hint("write schema.table, such as \"sales.*\""),
                ),
            }
        }
        for (empty, what) in [
            (config.tables.is_empty(), "tables"),
            (config.modes.is_empty(), "modes"),
        ] {
            if empty {
                let message = format!("a grant without {what} grants nothing");
                problems.push(Problem::of_principal(principal, message));
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
            statements: config
                .statements
                .iter()
                .map(|statement| WildMatch::new(statement))
                .collect(),
        }
    }

    /// Whether the grant allows a statement of the operator.
    pub(super) fn allows(&self, statement: &str) -> bool {
        self.statements
            .iter()
            .any(|pattern| pattern.matches(statement))
    }

    /// Whether the grant applies to a target, which may be the default one.
    pub(super) fn applies_to(&self, target: &str, is_default: bool) -> bool {
        if self.targets.is_empty() {
            return is_default;
        }
        self.targets.iter().any(|pattern| pattern.matches(target))
    }

    pub(super) fn covers(&self, table: &QualifiedName) -> bool {
        self.tables.iter().any(|(schema, name)| {
            schema.matches(table.schema.as_str()) && name.matches(table.name.as_str())
        })
    }
}
