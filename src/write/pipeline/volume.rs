//! Limits of the volume of a stream and of a write, checked before any byte goes to PostgreSQL.

use crate::auth::Volume;
use crate::error::{Error, Result};
use crate::pg::{Attempt, Transaction, lock_recorded_volume, recorded_volume};
use crate::write::limits::VolumeLimits;
use crate::write::writer::Writer;

/// Bytes of COPY that a stream may have regardless of its bytes of Arrow. Repeated values take few bytes in Arrow, and
/// small streams of them are harmless.
const FREE_BYTES: u64 = 1 << 30;

/// The size of a batch of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of Arrow received for it, decompressed, with its dictionaries.
    pub brought: u64,
    /// Bytes of COPY that its dictionaries expand to, if they are known before it is encoded; otherwise 0.
    pub named: u64,
    /// Bytes of memory that its message holds and does not need.
    pub spare: u64,
    /// Whether the stream already holds memory for decompression, so that waiting for more could deadlock.
    pub is_held: bool,
}

/// A limit that a stream can reach.
#[derive(Debug)]
struct Limit {
    most: u64,
    /// The volume that is recorded for the write, without this stream.
    recorded: u64,
    option: &'static str,
    owner: String,
}

/// Counts the volume of a stream, and rejects what exceeds a limit.
#[derive(Debug)]
pub(crate) struct Meter {
    rows: Option<Limit>,
    bytes: Option<Limit>,
    max_expansion: u32,
    row_count: u64,
    byte_count: u64,
    brought: u64,
}

impl Meter {
    /// Creates the meter of a stream of a write that has these recorded rows and bytes, with the limits of the target
    /// and of the principal, if there is one.
    fn new(target: VolumeLimits, principal: Option<(&str, Volume)>, recorded: (u64, u64)) -> Self {
        let mut meter = Self {
            rows: None,
            bytes: None,
            max_expansion: target.max_expansion,
            row_count: 0,
            byte_count: 0,
            brought: 0,
        };
        meter.add("the target", target.most, recorded);
        if let Some((name, most)) = principal {
            meter.add(&format!("principal {name}"), most, recorded);
        }
        meter
    }

    fn add(&mut self, owner: &str, most: Volume, (rows, bytes): (u64, u64)) {
        let limit = |(option, most): (&'static str, Option<u64>), recorded| {
            most.map(|most| Limit {
                most,
                recorded,
                option,
                owner: owner.to_owned(),
            })
        };
        let [stream_rows, stream_bytes, write_rows, write_bytes] = most.options();
        self.rows = nearest([
            self.rows.take(),
            limit(stream_rows, 0),
            limit(write_rows, rows),
        ]);
        self.bytes = nearest([
            self.bytes.take(),
            limit(stream_bytes, 0),
            limit(write_bytes, bytes),
        ]);
    }

    /// Counts received rows that are not encoded yet.
    ///
    /// # Errors
    /// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) when they exceed a limit.
    pub(crate) fn batch(&mut self, row_count: usize, size: Size) -> Result<()> {
        self.row_count += u64::try_from(row_count).unwrap_or(u64::MAX);
        check(self.rows.as_ref(), self.row_count, "rows")?;
        self.brought = self.brought.saturating_add(size.brought);
        self.check_expansion(self.byte_count.saturating_add(size.named))
    }

    /// Counts bytes that are about to be sent.
    ///
    /// # Errors
    /// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) when they exceed a limit.
    pub(crate) fn bytes(&mut self, byte_count: usize) -> Result<()> {
        self.byte_count += u64::try_from(byte_count).unwrap_or(u64::MAX);
        check(self.bytes.as_ref(), self.byte_count, "bytes")?;
        self.check_expansion(self.byte_count)
    }

    fn check_expansion(&self, becomes: u64) -> Result<()> {
        let most = self.brought.saturating_mul(self.max_expansion.into());
        if becomes <= most.max(FREE_BYTES) {
            return Ok(());
        }
        Err(Error::data_rejected(format!(
            "the stream has brought {} bytes of Arrow and would become {becomes} bytes in PostgreSQL, more than \
             {} times as many (max_expansion of the target); send long values that repeat as a table of their own",
            self.brought, self.max_expansion
        )))
    }
}

/// Returns the limit that is reached first.
fn nearest(limits: [Option<Limit>; 3]) -> Option<Limit> {
    let limits = limits.into_iter().flatten();
    limits.min_by_key(|limit| limit.most.saturating_sub(limit.recorded))
}

fn check(limit: Option<&Limit>, count: u64, what: &str) -> Result<()> {
    match limit {
        Some(limit) if limit.recorded.saturating_add(count) > limit.most => {
            Err(limit.reached(limit.recorded.saturating_add(count), what))
        }
        _ => Ok(()),
    }
}

impl Limit {
    fn reached(&self, count: u64, what: &str) -> Error {
        let of_write = self.option.ends_with("_write");
        let of = if of_write { "write" } else { "stream" };
        Error::data_rejected(format!(
            "the {of} has {count} {what} or more, and {} allows {} in a {of}",
            self.owner, self.most
        ))
        .with_hint(format!("send fewer, or raise {}", self.option))
    }
}

impl Writer {
    /// Returns the meter of a stream that is a write of its own.
    pub(crate) fn meter(&self) -> Meter {
        self.meter_beside((0, 0))
    }

    /// Returns the meter of a stream of a write that may have recorded attempts.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub(crate) async fn attempt_meter(&self, write_id: &str) -> Result<Meter> {
        if !self.limits_writes() {
            return Ok(self.meter());
        }
        let transaction = self.pool.begin_control().await?;
        let recorded = recorded_volume(&transaction, write_id).await?;
        transaction.rollback().await;
        Ok(self.meter_beside(recorded))
    }

    /// Checks that a write has room for an attempt, before the transaction records it. If writes have limits, attempts
    /// that are recorded at the same time wait for each other here.
    ///
    /// # Errors
    /// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) when it has no room; any error that
    /// PostgreSQL reports.
    pub(crate) async fn check_room(
        &self,
        transaction: &Transaction,
        write_id: &str,
        attempt: &Attempt,
    ) -> Result<()> {
        if !self.limits_writes() {
            return Ok(());
        }
        let recorded = lock_recorded_volume(transaction, write_id).await?;
        let meter = self.meter_beside(recorded);
        check(meter.rows.as_ref(), attempt.row_count, "rows")?;
        check(meter.bytes.as_ref(), attempt.byte_count, "bytes")
    }

    fn meter_beside(&self, recorded: (u64, u64)) -> Meter {
        let principal = self.caller.name();
        let principal = principal.map(|name| (name, self.caller.limits().volume));
        Meter::new(*self.volume.borrow(), principal, recorded)
    }

    /// Returns whether the recorded volume of a write counts.
    fn limits_writes(&self) -> bool {
        let limits =
            |most: Volume| most.max_rows_per_write.is_some() || most.max_bytes_per_write.is_some();
        limits(self.volume.borrow().most) || limits(self.caller.limits().volume)
    }
}

#[cfg(test)]
mod tests {
    use super::{FREE_BYTES, Meter, Size};
    use crate::auth::Volume;
    use crate::error::ErrorKind;
    use crate::write::limits::VolumeLimits;

    #[test]
    fn the_limit_that_is_reached_first_is_named() {
        let target = VolumeLimits {
            most: Volume {
                max_rows_per_stream: Some(100),
                max_rows_per_write: Some(1000),
                ..Volume::default()
            },
            ..VolumeLimits::default()
        };
        let principal = Volume {
            max_rows_per_stream: Some(90),
            ..Volume::default()
        };
        let refusal = |principal, recorded, rows| {
            let mut meter = Meter::new(target, principal, (recorded, 0));
            let counted = meter.batch(rows, Size::default());
            counted.err().map(|error| {
                assert_eq!(error.kind(), ErrorKind::DataRejected);
                error.report().to_string()
            })
        };
        assert_eq!(refusal(None, 0, 100), None);
        let text = refusal(None, 0, 101).unwrap();
        assert!(text.contains("the stream has 101 rows"), "{text}");
        assert!(text.contains("the target allows 100"), "{text}");
        let text = refusal(Some(("etl", principal)), 0, 91).unwrap();
        assert!(text.contains("principal etl allows 90"), "{text}");
        let text = refusal(Some(("etl", principal)), 950, 51).unwrap();
        assert!(text.contains("the write has 1001 rows"), "{text}");
        assert!(text.contains("max_rows_per_write"), "{text}");
    }

    #[test]
    fn the_expansion_of_a_stream_is_limited() {
        let mut meter = Meter::new(VolumeLimits::default(), None, (0, 0));
        let free = usize::try_from(FREE_BYTES).unwrap();
        let of = |brought, named| Size {
            brought,
            named,
            ..Size::default()
        };
        meter.batch(1, of(1, FREE_BYTES)).unwrap();
        meter.bytes(free).unwrap();
        assert!(meter.bytes(1).is_err());
        assert!(meter.batch(1, of(1, 1)).is_err(), "known beforehand");
        meter.batch(1, of(FREE_BYTES / 1000 + 1, 0)).unwrap();
        meter.bytes(100).unwrap();
    }
}
