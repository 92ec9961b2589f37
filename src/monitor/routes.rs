//! Routes requests by path.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName};
use hyper::{Method, Response, StatusCode};

use super::ledger::{Ledger, Snapshot};
use super::page;
use super::status::Status;
use crate::metrics::{self, Metrics, Readings, TargetReadings};
use crate::write::{Budget, Targets, Writer};

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JSON: &str = "application/json";

/// Allows nothing but this server's own resources.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("page.css");
const ICON: &str = include_str!("icon.svg");
const SCRIPT: &str = include_str!("page.js");

/// Answers requests with the state of the server and its targets.
pub(super) struct Routes {
    targets: Vec<Target>,
    budget: Budget,
    metrics: Metrics,
}

/// A target of the server.
struct Target {
    name: String,
    /// Whether the target is the default one.
    is_default: bool,
    writer: Writer,
    ledger: Ledger,
}

impl Routes {
    pub(super) fn new(targets: &Targets, budget: Budget, metrics: Metrics) -> Self {
        let default = targets.find("").ok().map(|(name, _)| name);
        let targets = targets
            .iter()
            .map(|(name, writer)| Target {
                name: name.to_owned(),
                is_default: default.is_none_or(|default| default == name),
                writer: writer.clone(),
                ledger: Ledger::new(writer.clone()),
            })
            .collect();
        Self {
            targets,
            budget,
            metrics,
        }
    }

    /// Routes a request.
    pub(super) async fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
            let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(ALLOW, allowed);
            return answer;
        }
        match path {
            "/" => body(StatusCode::OK, HTML, page::page(&self.status().await)),
            "/page.css" => body(StatusCode::OK, CSS, STYLE),
            "/icon.svg" => body(StatusCode::OK, SVG, ICON),
            "/page.js" => body(StatusCode::OK, JAVASCRIPT, SCRIPT),
            "/status.json" => match serde_json::to_vec(&self.status().await) {
                Ok(json) => body(StatusCode::OK, JSON, json),
                Err(_) => failed(),
            },
            "/metrics" => match self.metrics.encode(&self.readings().await) {
                Ok(text) => body(StatusCode::OK, metrics::CONTENT_TYPE, text),
                Err(_) => failed(),
            },
            "/healthz" => plain(StatusCode::OK, "alive\n"),
            "/readyz" => self.readiness().await,
            _ => plain(
                StatusCode::NOT_FOUND,
                "not found; use /, /status.json, /metrics, /healthz or /readyz\n",
            ),
        }
    }

    async fn readiness(&self) -> Response<Full<Bytes>> {
        if self.metrics.is_draining() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        // Without a default target, one target that answers is enough.
        let snapshots = self.snapshot().await;
        let mut snapshots = snapshots.iter().filter(|(target, _)| target.is_default);
        if snapshots.any(|(_, snapshot)| snapshot.is_reachable) {
            return plain(StatusCode::OK, "ready\n");
        }
        plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "PostgreSQL does not answer\n",
        )
    }

    /// Reads all ledgers concurrently, so that one that does not answer does not delay the others.
    async fn snapshot(&self) -> Vec<(&Target, Arc<Snapshot>)> {
        let snapshots = self.targets.iter().map(|target| async move {
            let snapshot = target.ledger.snapshot().await;
            (target, snapshot)
        });
        futures_util::future::join_all(snapshots).await
    }

    async fn readings(&self) -> Readings {
        let targets = self.snapshot().await.into_iter().map(|(target, ledger)| {
            let usage = target.writer.usage();
            let pools = usage.pools.iter();
            let counts = ledger.counts.iter();
            TargetReadings {
                name: target.name.clone(),
                turns_waiting: usage.turns_waiting,
                pools: pools
                    .map(|pool| (pool.name, pool.busy, pool.idle, pool.limit))
                    .collect(),
                is_up: ledger.is_reachable,
                writes: counts
                    .map(|(state, count)| (state.as_str(), *count))
                    .collect(),
                prepared_count: ledger.prepared.count,
                prepared_oldest: ledger.prepared.oldest,
            }
        });
        Readings {
            targets: targets.collect(),
            memory: self.budget.usage().to_vec(),
        }
    }

    async fn status(&self) -> Status {
        let snapshots = self.snapshot().await;
        let targets: Vec<_> = snapshots
            .iter()
            .map(|(target, snapshot)| (target.name.as_str(), &target.writer, &**snapshot))
            .collect();
        Status::now(&self.metrics, &targets, &self.budget)
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    body(status, TEXT, text)
}

fn failed() -> Response<Full<Bytes>> {
    plain(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the answer could not be encoded\n",
    )
}

fn body(
    status: StatusCode,
    content_type: &'static str,
    content: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(content.into()));
    *answer.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ];
    for (name, value) in headers {
        let value = hyper::header::HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    answer
}
