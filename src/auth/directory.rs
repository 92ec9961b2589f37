//! Finds the principal that credentials belong to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::config::{IdentityConfig, PrincipalConfig};
use super::credentials::certificate;
use super::credentials::jwt::{KeySet, Rules};
use super::credentials::session::{self, Session, SessionClaim, SessionKey};
use super::credentials::token::{Digest, Token};
use super::principal::Principal;
use super::problem::Problem;
use super::refusal::Refusal;

/// The length limit of a token.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The credentials of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// `authorization: Bearer …`.
    Bearer(&'a str),
    /// The certificate of the connection in DER, verified by the listener.
    Certificate(&'a [u8]),
}

/// The kind of credentials that authenticated a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A static token.
    Token,
    /// A session token.
    Session,
    /// A JWT.
    Jwt,
    /// A certificate.
    Certificate,
    /// Name and token, in a handshake.
    Password,
}

impl Proof {
    /// Returns its name in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Session => "session",
            Self::Jwt => "jwt",
            Self::Certificate => "certificate",
            Self::Password => "password",
        }
    }
}

/// All principals of a configuration.
#[derive(Debug, Default)]
pub struct Directory {
    principals: BTreeMap<String, Arc<Principal>>,
    jwt: Option<Rules>,
    session_ttl: Duration,
}

impl Directory {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub fn new(config: &IdentityConfig) -> Result<Self, Vec<Problem>> {
        let IdentityConfig { auth, principals } = config;
        let mut problems = Vec::new();
        let jwt = auth.jwt.as_ref().map(|jwt| Rules::new(jwt, &mut problems));
        if principals.is_empty() && jwt.is_some() {
            problems.push(
                Problem::of_jwt("there is no principal for a token to belong to")
                    .with_hint("add a section [principals.NAME] with jwt_subjects"),
            );
        }
        if jwt.is_none() {
            let with_subjects = |config: &PrincipalConfig| !config.jwt_subjects.is_empty();
            for (name, _) in principals
                .iter()
                .filter(|(_, config)| with_subjects(config))
            {
                problems.push(
                    Problem::of_principal(name, "jwt_subjects needs a section auth.jwt")
                        .with_hint("add the section [auth.jwt]"),
                );
            }
        }
        let read: BTreeMap<_, _> = principals
            .iter()
            .map(|(name, config)| {
                (
                    name.clone(),
                    Arc::new(Principal::new(name, config, &mut problems)),
                )
            })
            .collect();
        check_distinct(&read, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            principals: read,
            jwt,
            session_ttl: auth.session_ttl,
        })
    }

    /// Whether calls need no credentials, since no principal is configured.
    pub fn allows_anonymous(&self) -> bool {
        self.principals.is_empty()
    }

    /// Returns the principal that the credentials belong to.
    ///
    /// # Errors
    /// The reason the credentials were rejected.
    pub fn authenticate(
        &self,
        credentials: Credentials<'_>,
        sessions: &SessionKey,
        keys: &KeySet,
        now: SystemTime,
    ) -> Result<(Arc<Principal>, Proof), Refusal> {
        let (principal, proof) = match credentials {
            Credentials::Certificate(der) => {
                let names = certificate::names(der);
                let known = |p: &&Arc<Principal>| names.iter().any(|n| p.certificates.contains(n));
                let found = self.principals.values().find(known);
                (found.ok_or(Refusal::NoPrincipal)?, Proof::Certificate)
            }
            Credentials::Bearer(token) if token.len() > MAX_TOKEN_BYTES => {
                return Err(Refusal::InvalidToken);
            }
            Credentials::Bearer(token) if token.starts_with(session::PREFIX) => {
                let session = sessions.read(token).ok_or(Refusal::InvalidToken)?;
                if session.has_expired(now) {
                    return Err(Refusal::Expired);
                }
                let principal = self.principals.get(&session.principal);
                let principal = principal.ok_or(Refusal::InvalidToken)?;
                let mut tokens = principal.tokens.iter();
                let stands =
                    tokens.any(|t| !t.has_expired(now) && t.digest.id() == session.token_id);
                (
                    stands.then_some(principal).ok_or(Refusal::Expired)?,
                    Proof::Session,
                )
            }
            Credentials::Bearer(token) => match (self.by_token(token), &self.jwt) {
                (Some((_, token)), _) if token.has_expired(now) => return Err(Refusal::Expired),
                (Some((principal, _)), _) => (principal, Proof::Token),
                (None, Some(rules)) if token.matches('.').count() == 2 => {
                    let subject = rules.subject(token, keys)?;
                    let known = |p: &&Arc<Principal>| p.jwt_subjects.contains(&subject);
                    let found = self.principals.values().find(known);
                    (found.ok_or(Refusal::NoPrincipal)?, Proof::Jwt)
                }
                (None, _) => return Err(Refusal::InvalidToken),
            },
        };
        Ok((Arc::clone(principal), proof))
    }

    /// Issues a session token to a principal that sends its name and one of its tokens.
    ///
    /// # Errors
    /// The reason the name and token were rejected.
    pub fn open_session(
        &self,
        name: &str,
        token: &str,
        sessions: &SessionKey,
        now: SystemTime,
    ) -> Result<(Arc<Principal>, String), Refusal> {
        let found = (token.len() <= MAX_TOKEN_BYTES)
            .then(|| self.by_token(token))
            .flatten();
        let (principal, token) = found.ok_or(Refusal::WrongPassword)?;
        if principal.name() != name {
            return Err(Refusal::WrongPassword);
        }
        if token.has_expired(now) {
            return Err(Refusal::Expired);
        }
        // The session ends with its token. The client reads its end, and renews the session in time.
        let end = now + self.session_ttl;
        let end = token.expires.map_or(end, |expires| expires.min(end));
        let issued = sessions.issue(name, token.digest.id(), end);
        let issued = issued.map_err(|_| Refusal::WrongPassword)?;
        Ok((Arc::clone(principal), issued))
    }

    /// Returns the session of a call that was authenticated by `proof` and the token `bearer`. Callers with other
    /// credentials have none: the session's token would take the place of theirs.
    ///
    /// # Errors
    /// The reason the token was rejected.
    pub fn session(
        &self,
        bearer: Option<&str>,
        proof: Option<Proof>,
        sessions: &SessionKey,
    ) -> Result<SessionClaim, Refusal> {
        let claim = |session| sessions.claim(session).map_err(|_| Refusal::InvalidToken);
        match (proof, bearer) {
            // Without principals, a token only names a session.
            (None | Some(Proof::Session), Some(token)) if token.starts_with(session::PREFIX) => {
                match sessions.read(token) {
                    Some(session) if session.id.is_empty() => claim(Session {
                        id: session::new_id(),
                        ..session
                    }),
                    Some(session) => claim(session),
                    // Another server's key signed it, or that of this one before a restart.
                    None => Ok(SessionClaim {
                        id: session::new_id(),
                        is_stateful: true,
                        token: None,
                    }),
                }
            }
            (None, _) => claim(Session {
                principal: String::new(),
                token_id: String::new(),
                expires: u64::MAX,
                id: session::new_id(),
                is_stateful: false,
            }),
            (Some(Proof::Token), Some(token)) => {
                let (principal, token) = self.by_token(token).ok_or(Refusal::InvalidToken)?;
                claim(Session {
                    principal: principal.name().to_owned(),
                    token_id: token.digest.id(),
                    expires: token.expires.map_or(u64::MAX, session::seconds),
                    id: session::new_id(),
                    is_stateful: false,
                })
            }
            (Some(_), _) => Ok(SessionClaim::default()),
        }
    }

    /// Compares every token, so that the time reveals nothing about them.
    fn by_token(&self, token: &str) -> Option<(&Arc<Principal>, &Token)> {
        let digest = Digest::of(token);
        let mut found = None;
        for principal in self.principals.values() {
            for known in &principal.tokens {
                if known.digest.is(&digest) {
                    found = Some((principal, known));
                }
            }
        }
        found
    }
}

/// Rejects a token, subject or certificate that is listed twice, since it would identify a principal by chance.
fn check_distinct(principals: &BTreeMap<String, Arc<Principal>>, problems: &mut Vec<Problem>) {
    let mut seen = BTreeMap::new();
    for principal in principals.values() {
        let name = principal.name();
        let tokens = principal
            .tokens
            .iter()
            .map(|token| ("token", token.digest.to_string()));
        let subjects = principal
            .jwt_subjects
            .iter()
            .map(|s| ("JWT subject", s.clone()));
        let certificates = principal
            .certificates
            .iter()
            .map(|c| ("certificate", c.clone()));
        for credential in tokens.chain(subjects).chain(certificates) {
            let what = credential.0;
            if let Some(other) = seen.insert(credential, name) {
                let problem = if other == name {
                    Problem::of_principal(name, format!("a {what} is listed twice"))
                } else {
                    let message = format!("a {what} is also listed for principal {other}");
                    Problem::of_principal(name, message)
                        .with_hint(format!("give each principal its own {what}"))
                };
                problems.push(problem);
            }
        }
    }
}
