//! Authenticates calls by their headers and their connection, before any of the body is read.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

use super::audit;
use super::keys::Keys;
use super::quota::Quotas;
use crate::auth::{
    Caller, Credentials, Directory, IdentityConfig, Principal, Proof, Refusal, SessionKey,
};
use crate::error::{Error, Result};
use crate::flight::peer::Peer;
use crate::flight::status::to_status;

const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";
const AUTHORIZATION: &str = "authorization";

/// The principals and the keys that calls are authenticated with. Clones share one state.
#[derive(Clone)]
pub struct Identity {
    current: watch::Sender<Arc<IdentityState>>,
    /// Signs sessions when no key is configured.
    own_key: SessionKey,
    quotas: Quotas,
}

struct IdentityState {
    directory: Directory,
    sessions: SessionKey,
    keys: Keys,
}

/// The session token that the handshake returns.
#[derive(Clone)]
pub(crate) struct SessionToken(pub(crate) String);

impl Identity {
    /// Reads a configuration and the files that it names.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) with every problem, each on a line.
    pub fn load(config: &IdentityConfig) -> Result<Self> {
        let own_key = SessionKey::random()?;
        let state = IdentityState::load(config, &own_key)?;
        Ok(Self {
            current: watch::Sender::new(Arc::new(state)),
            own_key,
            quotas: Quotas::default(),
        })
    }

    /// Replaces the configuration for later calls. Running streams go on.
    ///
    /// # Errors
    /// The errors of [`Identity::load`]; the current configuration then stays.
    pub fn reload(&self, config: &IdentityConfig) -> Result<()> {
        let state = IdentityState::load(config, &self.own_key)?;
        self.current.send_replace(Arc::new(state));
        Ok(())
    }

    /// Fetches the identity provider's keys again and again; never completes.
    pub(crate) async fn follow(&self) {
        let mut changes = self.current.subscribe();
        loop {
            let keys = changes.borrow_and_update().keys.clone();
            tokio::select! {
                () = keys.follow() => {}
                changed = changes.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
            }
        }
    }

    /// Authenticates a request and adds the caller to its extensions.
    async fn authenticate_request(&self, request: &mut http::Request<Body>) -> Result<(), Refusal> {
        let state = Arc::clone(&self.current.borrow());
        let peer = request
            .extensions()
            .get::<Peer>()
            .cloned()
            .unwrap_or_default();
        let call = request.uri().path().to_owned();
        if state.directory.allows_anonymous() {
            let caller = Caller::anonymous().from_peer(peer.address);
            state.add_session(request, None)?;
            request.extensions_mut().insert(caller);
            return Ok(());
        }
        let outcome = if call == HANDSHAKE {
            let session = state.open_session(request.headers(), &peer);
            session.map(|(principal, token)| {
                request.extensions_mut().insert(SessionToken(token));
                (principal, Proof::Password)
            })
        } else {
            state.authenticate(request.headers(), &peer).await
        };
        match outcome {
            Ok((principal, proof)) => {
                let quota = self.quotas.of(&principal);
                let caller = Caller::new(principal).from_peer(peer.address);
                audit::log_authenticated(&caller, proof, &call);
                state.add_session(request, Some(proof))?;
                request.extensions_mut().insert(quota);
                request.extensions_mut().insert(caller);
                Ok(())
            }
            Err(refusal) => {
                audit::log_rejected(&peer, &refusal, &call);
                Err(refusal)
            }
        }
    }
}

impl IdentityState {
    fn load(config: &IdentityConfig, own_key: &SessionKey) -> Result<Self> {
        let directory = Directory::new(config).map_err(|problems| {
            let lines = problems.into_iter().map(Error::from);
            let lines: Vec<_> = lines.map(|error| error.report().to_string()).collect();
            Error::invalid_command(lines.join("\n"))
        })?;
        Ok(Self {
            directory,
            sessions: match &config.auth.session_key_file {
                Some(path) => session_key(path)?,
                None => own_key.clone(),
            },
            keys: Keys::load(config.auth.jwt.as_ref())?,
        })
    }

    async fn authenticate(
        &self,
        headers: &http::HeaderMap,
        peer: &Peer,
    ) -> Result<(Arc<Principal>, Proof), Refusal> {
        let credentials = match (header(headers)?, &peer.certificate) {
            (Some(header), _) => {
                Credentials::Bearer(scheme(header, "bearer").ok_or(Refusal::MissingCredentials)?)
            }
            (None, Some(certificate)) => Credentials::Certificate(certificate),
            (None, None) => return Err(Refusal::MissingCredentials),
        };
        let authenticate = || {
            let keys = self.keys.current();
            self.directory
                .authenticate(credentials, &self.sessions, &keys, SystemTime::now())
        };
        match authenticate() {
            Err(Refusal::UnknownKey) if self.keys.refetch().await => authenticate(),
            outcome => outcome,
        }
    }

    /// Adds the session of a call to its extensions.
    fn add_session(
        &self,
        request: &mut http::Request<Body>,
        proof: Option<Proof>,
    ) -> Result<(), Refusal> {
        // A server without principals ignores headers that are not its own.
        let header = header(request.headers()).ok().flatten();
        let bearer = header.and_then(|header| scheme(header, "bearer"));
        let claim = self.directory.session(bearer, proof, &self.sessions)?;
        request.extensions_mut().insert(claim);
        Ok(())
    }

    fn open_session(
        &self,
        headers: &http::HeaderMap,
        peer: &Peer,
    ) -> Result<(Arc<Principal>, String), Refusal> {
        let header = header(headers)?.ok_or(Refusal::MissingPassword)?;
        let encoded = scheme(header, "basic").ok_or(Refusal::MissingPassword)?;
        if !peer.is_secure {
            return Err(Refusal::PasswordWithoutTls);
        }
        let text = BASE64_STANDARD
            .decode(encoded)
            .ok()
            .and_then(|b| String::from_utf8(b).ok());
        let text = text.ok_or(Refusal::WrongPassword)?;
        let (name, token) = text.split_once(':').ok_or(Refusal::WrongPassword)?;
        self.directory
            .open_session(name, token, &self.sessions, SystemTime::now())
    }
}

fn session_key(path: &Path) -> Result<SessionKey> {
    let named =
        |error: Error| error.caused(format!("cannot use {} as session_key_file", path.display()));
    let bytes =
        std::fs::read(path).map_err(|error| named(Error::invalid_command(error.to_string())))?;
    SessionKey::new(bytes.trim_ascii()).map_err(named)
}

/// Returns the one authorization header, if there is one.
fn header(headers: &http::HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Refusal::InvalidToken),
        (Some(_), Some(_)) => Err(Refusal::DuplicateHeader),
    }
}

/// Returns what follows the name of a scheme, which is case-insensitive (RFC 9110, 11.1).
fn scheme<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let (scheme, rest) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case(name).then(|| rest.trim())
}

/// Whether the content type is gRPC's (gRPC over HTTP/2, "Content-Type"), and not that of gRPC-Web.
fn is_grpc(request: &http::Request<Body>) -> bool {
    let named = request.headers().get(http::header::CONTENT_TYPE);
    let named = named
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    named
        .strip_prefix("application/grpc")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// Rejects unauthenticated calls before they reach the inner service.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    pub(crate) service: S,
    pub(crate) identity: Identity,
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // The service that `poll_ready` found ready takes the call; its clone takes its place.
        let clone = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, clone);
        let identity = self.identity.clone();
        Box::pin(async move {
            if !is_grpc(&request) {
                let mut response = http::Response::new(Body::empty());
                *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
                return Ok(response);
            }
            match identity.authenticate_request(&mut request).await {
                Ok(()) => service.call(request).await,
                Err(refusal) => Ok(to_status(&refusal.into()).into_http()),
            }
        })
    }
}
