//! The Flight service: passes every call to its own file.

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::{oneshot, watch};
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, field};

use super::access::auth::SessionToken;
use super::access::quota::Quota;
use super::ingress::gate::Limits;
use super::ingress::meter::Messages;
use super::lifecycle::Lifecycle;
use super::limits::CallLimits;
use super::rpc::action;
use super::rpc::action_name::{self, ActionName};
use super::rpc::rejects;
use super::rpc::server_info::ServerInfo;
use super::rpc::stream_guard::StreamGuard;
use super::rpc::{info, put};
use super::sql;
use super::status::log_to_status;
use crate::auth::{Caller, SessionClaim};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::telemetry;
use crate::write::{Budget, Targets};

/// The state that all calls share.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) targets: Targets,
    pub(crate) max_message_bytes: u64,
    pub(crate) budget: Budget,
    pub(crate) call_limits: watch::Sender<CallLimits>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) metrics: Metrics,
    pub(crate) sessions: sql::Sessions,
}

impl Service {
    /// Returns the targets on behalf of the caller of a request.
    fn targets<T>(&self, request: &Request<T>) -> Targets {
        let caller = request.extensions().get::<Caller>().cloned();
        self.targets.on_behalf_of(caller.unwrap_or_default())
    }

    /// Returns the session of a call.
    fn session<T>(&self, request: &Request<T>) -> sql::CallSession {
        let claim = request.extensions().get::<SessionClaim>().cloned();
        sql::CallSession {
            claim: claim.unwrap_or_default(),
            sessions: self.sessions.clone(),
            calls: self.lifecycle.calls.clone(),
        }
    }

    /// Logs and counts an error, and turns it into a status.
    fn to_status(&self, error: &Error, call: &'static str) -> Status {
        log_to_status(&self.metrics, error, call)
    }

    fn not_served(&self, call: &'static str, hint: &'static str) -> Status {
        let error = Error::unsupported(format!("{call} is not served")).with_hint(hint);
        self.to_status(&error, call)
    }

    fn info(&self) -> ServerInfo {
        let interval = self.call_limits.borrow().heartbeat_interval;
        ServerInfo {
            max_message_bytes: self.max_message_bytes,
            heartbeat_seconds: u32::try_from(interval.as_secs()).unwrap_or(u32::MAX),
        }
    }

    /// Returns the limits of decoded messages. Arrow data compresses to about a quarter; clients send denser data in
    /// smaller batches.
    fn limits(&self) -> Limits {
        let max_decoded_bytes = self.max_message_bytes.saturating_mul(4);
        Limits {
            max_decoded_bytes: max_decoded_bytes.min(self.budget.max_decompressed_bytes()),
            // Half, so that one stream cannot take all memory for dictionaries.
            max_dictionary_bytes: self.budget.max_dictionary_bytes() / 2,
        }
    }
}

impl Service {
    /// Runs an action of Flight SQL.
    async fn run_sql(
        &self,
        targets: &Targets,
        mut session: sql::CallSession,
        name: sql::SqlAction,
        action: Action,
    ) -> StreamResponse<arrow_flight::Result> {
        let token = session.claim.token.take().filter(|_| name.opens_session());
        // A server that drains begins transactions too: ADBC's driver begins the next one within its commit. Their
        // ingests are rejected.
        let body = sql::run_action(targets, &session, name, &action).await;
        let body = body.map_err(|error| self.to_status(&error.in_full(), "DoAction"))?;
        let results = body.map(|body| arrow_flight::Result { body });
        let mut answer = all(results.into_iter().collect());
        if let Some(token) = token {
            self.hand_over(&mut answer, &token, "DoAction")?;
        }
        Ok(answer)
    }

    /// Puts a token into the header of an answer from which Arrow's clients read it.
    fn hand_over<T>(
        &self,
        answer: &mut Response<T>,
        token: &str,
        call: &'static str,
    ) -> Result<(), Status> {
        let header = format!("Bearer {token}").parse().map_err(|_| {
            let error = Error::internal("the session token is not a valid header value");
            self.to_status(&error, call)
        })?;
        answer.metadata_mut().insert("authorization", header);
        Ok(())
    }
}

type StreamResponse<T> = Result<Response<BoxStream<'static, Result<T, Status>>>, Status>;

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> StreamResponse<PutResult> {
        let (targets, session) = (self.targets(&request), self.session(&request));
        let arrival = session.arrive(&targets);
        if let Err(error) = self.lifecycle.reject_when_draining()
            && !session.has_work(&targets)
        {
            return Err(self.to_status(&error, "DoPut"));
        }
        let (limits, budget) = (self.limits(), self.budget.clone());
        let guard = StreamGuard {
            quota: request.extensions().get::<Arc<Quota>>().cloned(),
            call_limits: self.call_limits.clone(),
            lifecycle: Arc::clone(&self.lifecycle),
            metrics: self.metrics.clone(),
        };
        let traceparent = traceparent(&request);
        let headers = sql::Headers::of(request.metadata());
        let messages = Messages::new(request, &self.metrics);
        let stream = messages.stream();
        let span = stream.span().clone();
        telemetry::join(&span, &traceparent);
        let (ready_sender, ready) = oneshot::channel();
        // Runs inside the responses, so that a client that disconnects drops the stream and with it the COPY.
        let metrics = self.metrics.clone();
        let receiving = async move {
            // Boxed, since the compiler limits the depth of nested futures.
            let of_sql = (&session, &headers);
            let put = put::put(
                &targets,
                (limits, budget),
                messages,
                of_sql,
                arrival,
                ready_sender,
            );
            let put = put.boxed();
            let received = guard.run(&stream, put).await;
            received.map_err(|error| log_to_status(&metrics, &error, "DoPut"))
        };
        let receiving = receiving.instrument(span).boxed();
        Ok(Response::new(put::responses(ready, receiving)))
    }

    async fn do_action(&self, request: Request<Action>) -> StreamResponse<arrow_flight::Result> {
        let (targets, session) = (self.targets(&request), self.session(&request));
        let span = tracing::info_span!("action", action = field::Empty, trace_id = field::Empty);
        telemetry::join(&span, &traceparent(&request));
        let action = request.into_inner();
        let _call = self.lifecycle.calls.token();
        if let Some(name) = sql::SqlAction::parse(&action.r#type) {
            span.record("action", name.as_str());
            let run = self.run_sql(&targets, session, name, action);
            return Box::pin(run.instrument(span.clone())).await;
        }
        let run = async {
            if let Some(refused) = sql::refused_action(&action.r#type) {
                return Err(refused);
            }
            let name = ActionName::parse(&action.r#type)?;
            span.record("action", name.as_str());
            if name == ActionName::Begin {
                self.lifecycle.reject_when_draining()?;
            }
            name.check_size(&action.body)?;
            let byte_count = u64::try_from(action.body.len()).unwrap_or(u64::MAX);
            let _memory = self.budget.command(byte_count).await;
            action::run(&targets, name, action, self.info(), self.limits()).await
        };
        let logged = async {
            let outcome = run.await;
            outcome.map_err(|error| self.to_status(&error, "DoAction"))
        };
        // Boxed, since the future of a commit is large.
        let body = Box::pin(logged.instrument(span.clone())).await?;
        Ok(all(vec![arrow_flight::Result { body }]))
    }

    async fn list_actions(&self, _request: Request<Empty>) -> StreamResponse<ActionType> {
        Ok(all(action_name::list()))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> StreamResponse<FlightInfo> {
        let outcome = match std::str::from_utf8(&request.get_ref().expression) {
            Ok(target) => info::flights(&self.targets(&request), target, &self.budget).await,
            Err(_) => Err(
                Error::invalid_command("the criteria of ListFlights are not UTF-8")
                    .with_hint("send the name of a target, or no criteria"),
            ),
        };
        let listed = outcome.map_err(|error| self.to_status(&error, "ListFlights"))?;
        let metrics = self.metrics.clone();
        let listed = listed.map_err(move |error| log_to_status(&metrics, &error, "ListFlights"));
        Ok(Response::new(listed.boxed()))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let (targets, session) = (self.targets(&request), self.session(&request));
        let headers = sql::Headers::of(request.metadata());
        let descriptor = request.into_inner();
        let _call = self.lifecycle.calls.token();
        let outcome = match sql::command(Some(&descriptor)) {
            Ok(Some(command)) => {
                let caller = (&session, &headers);
                let info = sql::query::info(&targets, caller, &command, descriptor).await;
                info.map_err(Error::in_full)
            }
            Ok(None) => info::flight(&targets, descriptor).await,
            Err(error) => Err(error),
        };
        outcome
            .map(Response::new)
            .map_err(|error| self.to_status(&error, "GetFlightInfo"))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let targets = self.targets(&request);
        let descriptor = request.into_inner();
        let outcome = match sql::command(Some(&descriptor)) {
            Ok(Some(command)) => sql::query::schema(&command, "GetSchema")
                .and_then(|schema| info::schema_result(&schema))
                .map_err(Error::in_full),
            Ok(None) => info::schema(&targets, descriptor).await,
            Err(error) => Err(error),
        };
        outcome
            .map(Response::new)
            .map_err(|error| self.to_status(&error, "GetSchema"))
    }

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> StreamResponse<HandshakeResponse> {
        let Some(SessionToken(token)) = request.extensions().get::<SessionToken>() else {
            return Err(self.not_served("Handshake", "call without a handshake"));
        };
        let mut answer = all(Vec::new());
        self.hand_over(&mut answer, token, "Handshake")?;
        Ok(answer)
    }

    async fn poll_flight_info(
        &self,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(self.not_served("PollFlightInfo", "query with any PostgreSQL driver"))
    }

    async fn do_get(&self, request: Request<Ticket>) -> StreamResponse<FlightData> {
        let (targets, session) = (self.targets(&request), self.session(&request));
        let outcome = match sql::from_bytes(&request.get_ref().ticket) {
            Ok(Some(command)) => {
                sql::query::answer(&targets, &session, command, &self.budget).await
            }
            Ok(None) => match rejects::requested(&request.get_ref().ticket) {
                Some(wanted) => rejects::answer(&targets, wanted, &self.budget).await,
                None => return Err(self.not_served("DoGet", "read with any PostgreSQL driver")),
            },
            Err(error) => Err(error),
        };
        let answer = outcome.map_err(|error| self.to_status(&error.in_full(), "DoGet"))?;
        let metrics = self.metrics.clone();
        let answer =
            answer.map_err(move |error| log_to_status(&metrics, &error.in_full(), "DoGet"));
        Ok(Response::new(answer.boxed()))
    }

    async fn do_exchange(
        &self,
        _request: Request<Streaming<FlightData>>,
    ) -> StreamResponse<FlightData> {
        Err(self.not_served("DoExchange", "send rows with DoPut"))
    }
}

fn all<T: Send + 'static>(items: Vec<T>) -> Response<BoxStream<'static, Result<T, Status>>> {
    Response::new(stream::iter(items).map(Ok).boxed())
}

/// Returns the caller's `traceparent` header; empty if there is none.
fn traceparent<T>(request: &Request<T>) -> String {
    let header = request.metadata().get("traceparent");
    let header = header.and_then(|header| header.to_str().ok());
    header.unwrap_or_default().to_owned()
}
