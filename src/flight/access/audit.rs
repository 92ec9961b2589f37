//! The audit log: a line for each authentication and for each change of a write.
//!
//! The lines name tables, constraints and counts, and never a value or a secret.

use crate::auth::{Caller, Proof, Refusal};
use crate::error::Error;

use crate::flight::peer::Peer;
use crate::write::AttemptId;

/// The `tracing` target of these lines, for filters of the log.
const TARGET: &str = concat!(env!("CARGO_PKG_NAME"), "::audit");

/// Logs an authenticated call.
pub(crate) fn log_authenticated(caller: &Caller, proof: Proof, call: &str) {
    tracing::info!(
        target: TARGET, event = "authenticate", outcome = "admitted", principal = caller.name(),
        peer = caller.peer().map(tracing::field::display), proof = proof.as_str(), call,
    );
}

/// Logs a rejected call.
pub(crate) fn log_rejected(peer: &Peer, refusal: &Refusal, call: &str) {
    tracing::info!(
        target: TARGET, event = "authenticate", outcome = "refused",
        peer = peer.address.map(tracing::field::display), reason = %refusal, call,
    );
}

/// A change of a write, logged when it ends. A record that is dropped without an outcome logs `ended`: the caller
/// disconnected, or a timeout passed.
pub(crate) struct AuditRecord {
    caller: Caller,
    event: &'static str,
    write_id: Option<String>,
    partition: Option<u32>,
    attempt_id: Option<String>,
    mode: Option<String>,
    table: Option<String>,
    transaction: Option<String>,
    is_logged: bool,
}

impl AuditRecord {
    pub(crate) fn new(caller: &Caller, event: &'static str) -> Self {
        Self {
            caller: caller.clone(),
            event,
            write_id: None,
            partition: None,
            attempt_id: None,
            mode: None,
            table: None,
            transaction: None,
            is_logged: false,
        }
    }

    pub(crate) fn of_write(mut self, write_id: &str) -> Self {
        self.write_id = Some(write_id.to_owned());
        self
    }

    pub(crate) fn of_attempt(mut self, id: &AttemptId) -> Self {
        self.event = "attempt";
        self.partition = Some(id.partition_id);
        self.attempt_id = Some(id.attempt_id.clone());
        self.of_write(&id.write_id)
    }

    pub(crate) fn in_transaction(mut self, id: &str) -> Self {
        self.transaction = Some(id.to_owned());
        self
    }

    pub(crate) fn into_table(mut self, table: impl ToString, mode: impl ToString) -> Self {
        self.table = Some(table.to_string());
        self.mode = Some(mode.to_string());
        self
    }

    /// Logs the success, with the number of rows and bytes.
    pub(crate) fn succeeded(mut self, outcome: &str, table: &str, rows: u64, bytes: u64) {
        self.table = (!table.is_empty()).then(|| table.to_owned());
        self.log(outcome, Some((rows, bytes)), None);
    }

    /// Logs the failure.
    pub(crate) fn failed(mut self, error: &Error) {
        self.log(error.kind().reason(), None, Some(error));
    }

    fn log(&mut self, outcome: &str, counts: Option<(u64, u64)>, error: Option<&Error>) {
        self.is_logged = true;
        let context = error.map(Error::context);
        tracing::info!(
            target: TARGET, event = self.event, outcome, principal = self.caller.name(),
            peer = self.caller.peer().map(tracing::field::display),
            write_id = self.write_id.as_ref().map(tracing::field::debug),
            transaction = self.transaction, partition = self.partition,
            attempt_id = self.attempt_id.as_ref().map(tracing::field::debug),
            target_name = self.caller.target(),
            table = self.table.as_ref().map(tracing::field::debug), mode = self.mode,
            rows = counts.map(|(rows, _)| rows), bytes = counts.map(|(_, bytes)| bytes),
            sqlstate = context.and_then(|context| context.sqlstate.as_deref()),
        );
    }
}

impl Drop for AuditRecord {
    fn drop(&mut self) {
        if !self.is_logged {
            self.log("ended", None, None);
        }
    }
}
