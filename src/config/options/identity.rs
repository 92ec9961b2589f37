//! `[auth]` and `[principals]`: the principals of the file, and the one that `--token-digest` defines.

use std::collections::BTreeMap;

use toml::Spanned;

use crate::auth::{
    AuthConfig, Directory, GrantConfig, IdentityConfig, PrincipalConfig, TokenConfig, WriteMode,
};
use crate::config::problems::Problems;
use crate::error::Error;

/// The principal of the tokens that are given by flag.
const TOKEN_PRINCIPAL: &str = "client";

/// Builds the principals of the file and of `--token-digest`.
pub(in crate::config) fn build(
    auth: &AuthConfig,
    of_file: &BTreeMap<String, Spanned<PrincipalConfig>>,
    token_digests: &[String],
    problems: &mut Problems,
) -> IdentityConfig {
    let mut principals = BTreeMap::new();
    for (name, principal) in of_file {
        principals.insert(name.clone(), principal.get_ref().clone());
    }
    if !token_digests.is_empty() {
        let client = principal_with_all_permissions(token_digests);
        let replaced = principals.insert(TOKEN_PRINCIPAL.to_owned(), client);
        if replaced.is_some() {
            let message = format!(
                "--token-digest defines the principal {TOKEN_PRINCIPAL:?}, which the file defines too"
            );
            let hint = "rename the principal of the file";
            problems.add(Error::invalid_command(message).with_hint(hint));
        }
    }
    let identity = IdentityConfig {
        auth: auth.clone(),
        principals,
    };
    for problem in Directory::new(&identity).err().unwrap_or_default() {
        let principal = problem.principal.as_ref();
        let span = principal.and_then(|name| Some(of_file.get(name)?.span()));
        problems.add_at(span.as_ref(), problem.into());
    }
    identity
}

fn principal_with_all_permissions(token_digests: &[String]) -> PrincipalConfig {
    let everything = GrantConfig {
        statements: vec!["*".to_owned()],
        targets: vec!["*".to_owned()],
        tables: vec!["*.*".to_owned()],
        modes: WriteMode::ALL.to_vec(),
    };
    PrincipalConfig {
        tokens: token_digests
            .iter()
            .cloned()
            .map(TokenConfig::Digest)
            .collect(),
        grants: vec![everything],
        ..PrincipalConfig::default()
    }
}
