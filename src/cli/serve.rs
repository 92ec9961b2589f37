//! `pgflight serve`: runs a server until SIGTERM or Ctrl-C.

use std::collections::BTreeMap;

use pgflight::config::{Config, Serve};
use pgflight::error::{Error, Result};
use pgflight::flight::{Identity, Server};
use pgflight::metrics::Metrics;
use pgflight::monitor::Monitor;
use pgflight::pg::{LedgerVersion, NOTICES, Pool, show_detail};
use pgflight::telemetry;
use pgflight::write::{Budget, Targets, Writer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::START_TIMEOUT;
use super::reload::Reload;

/// Serves until SIGTERM or Ctrl-C.
pub(super) async fn serve(options: &Serve) -> Result<()> {
    let config = Config::load(options)?;
    // From here on SIGHUP no longer ends the process.
    let hangups = signal(SignalKind::hangup())
        .map_err(|error| Error::internal("cannot listen for SIGHUP").with_source(error))?;
    let telemetry = telemetry::start(config.log.format, &config.log.filter, NOTICES)
        .map_err(|problem| Error::internal(format!("could not start logging: {problem}")))?;
    show_detail(config.log.show_detail);
    let budget = Budget::new(&config.budget)?;
    let metrics = Metrics::default();
    let targets = connect(&config, &metrics).await?;
    let identity = Identity::load(&config.identity)?;
    let server = Server::bind(
        config.server.clone(),
        identity.clone(),
        budget.clone(),
        targets.clone(),
        metrics.clone(),
    )
    .await?;
    let monitor = match config.metrics_listen {
        Some(listen) => Some(Monitor::bind(listen).await?),
        None => None,
    };
    let stop = CancellationToken::new();
    let reaper = watch::Sender::new(config.reaper.clone());
    let mut beside = JoinSet::new();
    for (_, writer) in targets.iter() {
        let (writer, stop, config) = (writer.clone(), stop.clone(), reaper.subscribe());
        beside.spawn(async move { writer.reap_until(stop, config).await });
    }
    for (name, target) in &config.targets {
        tracing::info!(target_name = name, postgres = %target.connection, "writing to a target");
    }
    let mut monitoring = JoinSet::new();
    if let Some(monitor) = monitor {
        tracing::info!(
            "metrics and the status page are at http://{}/",
            monitor.address()
        );
        monitoring.spawn(monitor.serve(targets.clone(), budget, metrics.clone()));
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        "listening on {}",
        server.address()
    );
    let reload = Reload {
        limits: server.limits(),
        identity,
        reaper,
        targets,
    };
    beside.spawn(reload.follow(hangups, options.clone(), config));
    let served = Box::pin(server.serve(shutdown_signal())).await;
    stop.cancel();
    // Another server, or this one after its restart, finishes their work.
    beside.abort_all();
    monitoring.abort_all();
    let totals = metrics.totals();
    tracing::info!(
        streams = totals.stream_count,
        rows = totals.row_count,
        published = totals.published_row_count,
        "ended"
    );
    tokio::task::block_in_place(|| telemetry.end());
    served
}

/// Makes the pools and checks a connection to each target. If some of several targets cannot be reached, the server
/// serves the others, and these when they are back.
async fn connect(config: &Config, metrics: &Metrics) -> Result<Targets> {
    let mut writers = BTreeMap::new();
    for (name, target) in &config.targets {
        let pool = Pool::new(&target.connection, &target.pool)?;
        let writer = Writer::new(pool)
            .with_fan_out(config.fan_out)
            .with_metrics(metrics.clone());
        writer.set_volume(target.volume);
        writer.set_statements(target.statements.clone());
        writers.insert(name.clone(), writer);
    }
    let targets = Targets::new(writers, config.default_target.clone());
    let mut checks = JoinSet::new();
    for (name, writer) in targets.iter() {
        let (name, writer) = (name.to_owned(), writer.clone());
        checks.spawn(async move {
            let checked = writer.check(START_TIMEOUT).await;
            if checked.is_ok() {
                upgrade(&name, &writer).await;
            }
            (name, checked)
        });
    }
    let mut last = None;
    let mut reachable = 0;
    while let Some(checked) = checks.join_next().await {
        match checked {
            Ok((_, Ok(()))) => reachable += 1,
            Ok((_, Err(error))) if targets.is_alone() => return Err(error),
            Ok((name, Err(error))) => {
                tracing::warn!(target_name = name, error = %error.report(), "could not reach a target");
                last = Some(error);
            }
            Err(error) => {
                return Err(Error::internal("a check of a target failed").with_source(error));
            }
        }
    }
    match last {
        Some(error) if reachable == 0 => Err(error),
        _ => Ok(targets),
    }
}

/// Upgrades the ledger of a target. Without the upgrade, writes of one stream still work.
async fn upgrade(name: &str, writer: &Writer) {
    let ours = LedgerVersion::OURS;
    match writer.upgrade().await {
        Ok(LedgerVersion::Missing | LedgerVersion::Current) => {}
        Ok(LedgerVersion::Old(version)) => tracing::info!(
            target_name = name,
            from = version,
            to = ours,
            "upgraded the ledger"
        ),
        Ok(LedgerVersion::Newer(version)) => tracing::warn!(
            target_name = name,
            version,
            ours,
            "the ledger is newer than this server"
        ),
        Err(error) => {
            tracing::warn!(target_name = name, error = %error.report(), "could not upgrade the ledger from an older version");
        }
    }
}

/// Completes at SIGTERM or SIGINT. A system without signals serves until it is killed.
async fn shutdown_signal() {
    match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}
