//! The Flight service: thin, every call goes to its own file.

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, field};

use super::action::{self, ActionName, Told};
use super::auth::SessionToken;
use super::gate::Limits;
use super::meter::Messages;
use super::quota::Quota;
use super::server::CallLimits;
use super::status::log_to_status;
use super::{info, put};
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::metrics::{Activity, Outcome};
use crate::telemetry;
use crate::write::{Budget, Targets};

/// What all calls share.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) targets: Targets,
    pub(super) max_message_bytes: u64,
    pub(super) budget: Budget,
    pub(super) call_limits: watch::Sender<CallLimits>,
    pub(super) life: Arc<Life>,
}

impl Service {
    /// What a call may reach, and who makes it.
    fn targets<T>(&self, request: &Request<T>) -> Targets {
        let caller = request.extensions().get::<Caller>().cloned();
        self.targets.on_behalf_of(caller.unwrap_or_default())
    }

    /// What every client is told.
    fn told(&self) -> Told {
        let interval = self.call_limits.borrow().heartbeat_interval;
        Told {
            max_message_bytes: self.max_message_bytes,
            heartbeat_seconds: u32::try_from(interval.as_secs()).unwrap_or(u32::MAX),
        }
    }

    /// What a message may become: Arrow data compresses to a quarter or so, and what claims to be far
    /// denser is sent in smaller batches.
    fn limits(&self) -> Limits {
        let most = self.max_message_bytes.saturating_mul(4);
        Limits {
            max_decoded_bytes: most.min(self.budget.max_decompressed_bytes()),
            // So that one stream cannot hold all there is.
            max_dictionary_bytes: self.budget.max_dictionary_bytes() / 2,
        }
    }
}

/// How the server's end reaches its calls.
#[derive(Default)]
pub(super) struct Life {
    /// Set once the server drains: new writes are refused.
    pub(super) draining: CancellationToken,
    /// Set when the grace is over: running streams end.
    pub(super) stopping: CancellationToken,
    /// Counts the running streams and actions.
    pub(super) calls: TaskTracker,
}

impl Life {
    fn refuse_when_draining(&self) -> Result<()> {
        match self.draining.is_cancelled() {
            true => Err(Error::unavailable(
                "this server is shutting down; try again, here or at another replica",
            )),
            false => Ok(()),
        }
    }
}

type Answer<T> = Result<Response<BoxStream<'static, Result<T, Status>>>, Status>;

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Answer<PutResult> {
        self.life
            .refuse_when_draining()
            .map_err(|error| log_to_status(&error, "DoPut"))?;
        let service = self.clone();
        let targets = self.targets(&request);
        let quota = request.extensions().get::<Arc<Quota>>().cloned();
        let traceparent = traceparent(&request);
        let messages = Messages::new(request);
        let stream = messages.stream();
        let span = stream.span().clone();
        telemetry::join(&span, &traceparent);
        let (tell_ready, ready) = oneshot::channel();
        // Inside the answers, so that a client who leaves drops the stream and with it the COPY.
        let landing = async move {
            let _running = service.life.calls.token();
            let on_board = stream.run();
            let (limits, budget) = (service.limits(), service.budget.clone());
            let CallLimits {
                stream_timeout,
                stream_wait,
                ..
            } = *service.call_limits.borrow();
            let putting = async {
                let _place = match quota {
                    Some(quota) => {
                        let waiting = quota.stream(stream_wait);
                        Some(stream.wait(Activity::Turn, waiting).await?)
                    }
                    None => None,
                };
                // Boxed, since the compiler follows futures within futures only so far.
                let putting = put::put(&targets, limits, budget, messages, tell_ready);
                putting.boxed().await
            };
            // Asked before the stream is dropped, and forgets what it did.
            let too_long = async {
                tokio::time::sleep(stream_timeout).await;
                stream.may_be_committed()
            };
            let stopping = async {
                service.life.stopping.cancelled().await;
                stream.may_be_committed()
            };
            let outcome = tokio::select! {
                outcome = putting => outcome,
                in_doubt = too_long => Err(cut_off(in_doubt, Error::timeout(format!(
                    "the stream has taken more than {}; nothing of it is kept; see --stream-timeout",
                    humantime::format_duration(stream_timeout)
                )))),
                in_doubt = stopping => Err(cut_off(in_doubt, Error::unavailable(
                    "this server has shut down before the stream ended; nothing of it is kept; try again",
                ))),
            };
            on_board.end(match outcome {
                Ok(_) => Outcome::Landed,
                Err(_) => Outcome::Failed,
            });
            outcome.map_err(|error| log_to_status(&error, "DoPut"))
        };
        Ok(Response::new(put::answers(
            ready,
            landing.instrument(span).boxed(),
        )))
    }

    async fn do_action(&self, request: Request<Action>) -> Answer<arrow_flight::Result> {
        let targets = self.targets(&request);
        let span = tracing::info_span!("action", action = field::Empty, trace_id = field::Empty);
        telemetry::join(&span, &traceparent(&request));
        let action = request.into_inner();
        let _running = self.life.calls.token();
        let named = span.clone();
        let outcome = async {
            let name = ActionName::parse(&action.r#type)?;
            named.record("action", name.as_str());
            if name == ActionName::Begin {
                self.life.refuse_when_draining()?;
            }
            name.check_size(&action.body)?;
            let byte_count = u64::try_from(action.body.len()).unwrap_or(u64::MAX);
            let _memory = self.budget.command(byte_count).await;
            let acting = action::act(&targets, name, action, self.told(), self.limits());
            acting.boxed().await
        };
        let outcome = async {
            outcome
                .await
                .map_err(|error| log_to_status(&error, "DoAction"))
        };
        let body = outcome.instrument(span).await?;
        Ok(all(vec![arrow_flight::Result { body }]))
    }

    async fn list_actions(&self, _request: Request<Empty>) -> Answer<ActionType> {
        Ok(all(action::list()))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Answer<FlightInfo> {
        let outcome = match std::str::from_utf8(&request.get_ref().expression) {
            Ok(target) => info::flights(&self.targets(&request), target).await,
            Err(_) => Err(Error::invalid_command(
                "ListFlights takes the name of a target as its criteria, or nothing",
            )),
        };
        outcome
            .map(all)
            .map_err(|error| log_to_status(&error, "ListFlights"))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let targets = self.targets(&request);
        let outcome = info::flight(&targets, request.into_inner()).await;
        outcome
            .map(Response::new)
            .map_err(|error| log_to_status(&error, "GetFlightInfo"))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let targets = self.targets(&request);
        let outcome = info::schema(&targets, request.into_inner()).await;
        outcome
            .map(Response::new)
            .map_err(|error| log_to_status(&error, "GetSchema"))
    }

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Answer<HandshakeResponse> {
        let Some(SessionToken(token)) = request.extensions().get::<SessionToken>() else {
            return Err(not_served("Handshake", "no login is needed"));
        };
        let mut answer = all(Vec::new());
        let header = format!("Bearer {token}").parse().map_err(|_| {
            log_to_status(
                &Error::internal("a session token is no header"),
                "Handshake",
            )
        })?;
        // Where Arrow's clients look for it.
        answer.metadata_mut().insert("authorization", header);
        Ok(answer)
    }

    async fn poll_flight_info(
        &self,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(not_served("PollFlightInfo", "pgflight runs no queries"))
    }

    async fn do_get(&self, _request: Request<Ticket>) -> Answer<FlightData> {
        Err(not_served(
            "DoGet",
            "pgflight writes; read with any PostgreSQL driver",
        ))
    }

    async fn do_exchange(&self, _request: Request<Streaming<FlightData>>) -> Answer<FlightData> {
        Err(not_served("DoExchange", "send rows with DoPut"))
    }
}

fn all<T: Send + 'static>(items: Vec<T>) -> Response<BoxStream<'static, Result<T, Status>>> {
    Response::new(stream::iter(items).map(Ok).boxed())
}

/// The trace that a caller is part of, if he says so.
fn traceparent<T>(request: &Request<T>) -> String {
    let header = request.metadata().get("traceparent");
    let header = header.and_then(|header| header.to_str().ok());
    header.unwrap_or_default().to_owned()
}

/// The error for the sender of a stream that this server ends. It does not say of a stream that commits that nothing
/// is kept.
fn cut_off(in_doubt: bool, error: Error) -> Error {
    match in_doubt {
        false => error,
        // Not retryable: a retry could bring the rows a second time.
        true => Error::internal(
            "this server ended the stream during its COMMIT, and it is not known whether the rows are in the \
             table; look there before you send them again",
        )
        .with_source(error),
    }
}

fn not_served(call: &'static str, instead: &str) -> Status {
    log_to_status(
        &Error::unsupported(format!("{call} is not served: {instead}")),
        call,
    )
}
