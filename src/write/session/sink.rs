//! Batches of streaming queries. This module finds the write of a batch, and checks that its query may write to the
//! sink.
//!
//! A new checkpoint counts its batches from 0 again. The ledger keeps the query of each sink and its last batch.
//! Otherwise a batch of a new checkpoint would pass for an earlier batch with the same number.

use crate::error::{Error, Result};
use crate::pg::{
    BatchPlace, Sink, Transaction, count_sinks, find_write, last_named_batch, lock_sink,
    name_of_batch, update_sink,
};
use crate::write::writer::Writer;

/// The limit of sinks for each principal, since the ledger never forgets a sink.
const MAX_SINKS: u32 = 10_000;
/// The limit of replaced queries that a sink remembers.
const MAX_PAST_QUERIES: usize = 100;

/// The name of a write at begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// The id in the ledger, chosen by the caller.
    Id(String),
    /// The batch that the write is.
    Batch(SinkBatch),
}

/// A batch of a streaming query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkBatch {
    /// The output of the query.
    pub sink_id: String,
    /// The query; empty when the caller does not know it.
    pub query_id: String,
    /// The number of the batch.
    pub batch_id: i64,
    /// Whether this query may replace the one that wrote to the sink before.
    pub resume: bool,
}

impl SinkBatch {
    /// Returns the caller's name for the write of the batch: `SINK:BATCH` for the first query of a sink, and
    /// `SINK:BATCH~RUN` for a query that replaced another. The part after the last colon tells them apart, whatever the
    /// name of the sink.
    pub fn name(&self, run: i32) -> String {
        match run {
            0 => format!("{}:{}", self.sink_id, self.batch_id),
            run => format!("{}:{}~{run}", self.sink_id, self.batch_id),
        }
    }
}

/// The write of a batch.
pub(crate) enum Located {
    /// The write has this id in the ledger, whether or not it was begun.
    Write(String, BatchPlace),
    /// The write was committed, and the ledger no longer has it.
    Forgotten(String),
}

impl Writer {
    /// Finds the write of a batch. The row of its sink stays locked until the transaction ends.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when the batch belongs to a query that may not write
    /// to the sink, or when the principal has too many sinks; any error that PostgreSQL reports.
    pub(crate) async fn locate(
        &self,
        transaction: &Transaction,
        batch: &SinkBatch,
    ) -> Result<Located> {
        let principal = self.caller.name();
        let (sink_id, query_id) = (&batch.sink_id, &batch.query_id);
        let mut sink = lock_sink(transaction, principal, sink_id, query_id).await?;
        if sink.is_new {
            if count_sinks(transaction, principal, MAX_SINKS).await? > MAX_SINKS.into() {
                return Err(Error::conflict(format!(
                    "sink {sink_id:?} is new, and there are {MAX_SINKS} sinks already"
                ))
                .with_hint("delete sinks that no query writes to from pgflight.sink"));
            }
            let prefix = self.caller.ledger_id(&format!("{sink_id}:"));
            sink.last_batch = last_named_batch(transaction, &prefix).await?;
        }
        let known = sink.clone();
        admit(&mut sink, batch)?;
        if sink != known || sink.is_new {
            update_sink(transaction, principal, sink_id, &sink).await?;
        }
        let place = BatchPlace {
            sink_id: sink_id.clone(),
            run: sink.run,
            batch: batch.batch_id,
        };
        let name = self.ledger_id(&batch.name(sink.run));
        let write_id = name_of_batch(transaction, &name, &place).await?;
        let is_committed = sink.last_batch.is_some_and(|last| batch.batch_id <= last);
        if is_committed && find_write(transaction, &write_id).await?.is_none() {
            return Ok(Located::Forgotten(name));
        }
        Ok(Located::Write(write_id, place))
    }
}

/// Accepts a batch into a sink, which then belongs to the batch's query.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when the sink belongs to another query.
fn admit(sink: &mut Sink, batch: &SinkBatch) -> Result<()> {
    let SinkBatch {
        sink_id,
        query_id,
        batch_id: number,
        resume,
    } = batch;
    let last = match sink.last_batch {
        Some(last) => format!("batch {last} was committed last"),
        None => "no batch of it is committed yet".to_owned(),
    };
    // A query repeats its last batch, but no earlier one.
    let goes_back = sink.last_batch.is_some_and(|last| *number < last);
    if sink.past_query_ids.contains(query_id) {
        return Err(Error::conflict(format!(
            "query {query_id} of batch {number} was replaced by query {} in sink {sink_id:?}",
            sink.query_id
        ))
        .with_hint("use another sink id"));
    }
    if query_id.is_empty() && !sink.query_id.is_empty() {
        return Err(Error::conflict(format!(
            "sink {sink_id:?} belongs to query {}, and batch {number} names no query",
            sink.query_id
        ))
        .with_hint("use a client that names its query, or another sink id"));
    }
    if *query_id == sink.query_id && !query_id.is_empty() && !sink.is_new {
        return Ok(());
    }
    let hint = "keep the checkpoint of the query that wrote before, use another sink id, or set resume to let this \
                query replace it";
    if *query_id == sink.query_id || sink.query_id.is_empty() {
        // No query id was recorded, so only the batch numbers tell queries apart.
        if !goes_back {
            sink.query_id.clone_from(query_id);
            return Ok(());
        }
        if query_id.is_empty() || !resume {
            let hint = if query_id.is_empty() {
                "keep the checkpoint of the query that wrote before, or use another sink id"
            } else {
                hint
            };
            return Err(Error::conflict(format!(
                "batch {number} of sink {sink_id:?} comes from another checkpoint: {last}"
            ))
            .with_hint(hint));
        }
    } else if !resume {
        return Err(Error::conflict(format!(
            "query {query_id} of batch {number} does not own sink {sink_id:?}, which belongs to query {}, of which \
             {last}",
            sink.query_id
        ))
        .with_hint(hint));
    }
    if !sink.is_new && !sink.query_id.is_empty() {
        sink.past_query_ids.push(sink.query_id.clone());
        let forgotten = sink.past_query_ids.len().saturating_sub(MAX_PAST_QUERIES);
        sink.past_query_ids.drain(..forgotten);
    }
    sink.query_id.clone_from(query_id);
    sink.run += 1;
    sink.last_batch = None;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{SinkBatch, admit};
    use crate::pg::Sink;

    fn sink(query_id: &str, last_batch: Option<i64>) -> Sink {
        Sink {
            query_id: query_id.to_owned(),
            past_query_ids: vec!["past".to_owned()],
            run: 0,
            last_batch,
            is_new: false,
        }
    }

    fn batch(query_id: &str, batch_id: i64, resume: bool) -> SinkBatch {
        SinkBatch {
            sink_id: "s".to_owned(),
            query_id: query_id.to_owned(),
            batch_id,
            resume,
        }
    }

    /// The sink's query, run and last batch afterwards, or a part of the error.
    type Outcome = Result<(&'static str, i32, Option<i64>), &'static str>;

    #[test]
    fn a_sink_takes_the_batches_of_its_query() {
        let cases: [(Sink, SinkBatch, Outcome); 15] = [
            (sink("q", None), batch("q", 0, false), Ok(("q", 0, None))),
            (
                sink("q", Some(5)),
                batch("q", 6, false),
                Ok(("q", 0, Some(5))),
            ),
            (
                sink("q", Some(5)),
                batch("q", 3, false),
                Ok(("q", 0, Some(5))),
            ),
            (
                sink("q", Some(5)),
                batch("q", 5, true),
                Ok(("q", 0, Some(5))),
            ),
            (
                sink("q", Some(5)),
                batch("r", 0, false),
                Err("belongs to query q"),
            ),
            (
                sink("q", Some(5)),
                batch("r", 6, false),
                Err("batch 5 was committed last"),
            ),
            (
                sink("q", None),
                batch("r", 0, false),
                Err("no batch of it is committed yet"),
            ),
            (sink("q", Some(5)), batch("r", 0, true), Ok(("r", 1, None))),
            (
                sink("q", Some(5)),
                batch("past", 0, true),
                Err("was replaced by query q"),
            ),
            (
                sink("q", Some(5)),
                batch("", 6, false),
                Err("names no query"),
            ),
            (sink("", Some(5)), batch("", 5, false), Ok(("", 0, Some(5)))),
            (
                sink("", Some(5)),
                batch("", 0, true),
                Err("another checkpoint"),
            ),
            (
                sink("", Some(5)),
                batch("q", 6, false),
                Ok(("q", 0, Some(5))),
            ),
            (
                sink("", Some(5)),
                batch("q", 0, false),
                Err("another checkpoint"),
            ),
            (sink("", Some(5)), batch("q", 0, true), Ok(("q", 1, None))),
        ];
        for (mut sink, batch, expected) in cases {
            let shown = format!("{sink:?} {batch:?}");
            match (admit(&mut sink, &batch), expected) {
                (Ok(()), Ok((query_id, run, last_batch))) => {
                    let is = (&*sink.query_id, sink.run, sink.last_batch);
                    assert_eq!(is, (query_id, run, last_batch), "{shown}");
                }
                (Err(refusal), Err(part)) => assert!(
                    refusal.report().to_string().contains(part),
                    "{shown}: {refusal}"
                ),
                (is, _) => panic!("{shown}: {is:?}"),
            }
        }
    }

    #[test]
    fn a_query_that_was_replaced_does_not_come_back() {
        let mut sink = sink("q", Some(5));
        admit(&mut sink, &batch("r", 0, true)).unwrap();
        let refusal = admit(&mut sink, &batch("q", 6, true)).unwrap_err();
        assert!(
            refusal
                .report()
                .to_string()
                .contains("was replaced by query r"),
            "{refusal}"
        );
        admit(&mut sink, &batch("r", 1, true)).unwrap();
        assert_eq!(sink.run, 1);
    }

    #[test]
    fn a_sink_remembers_its_last_hundred_queries() {
        let mut sink = sink("q0", None);
        for n in 1..=102 {
            admit(&mut sink, &batch(&format!("q{n}"), 0, true)).unwrap();
        }
        assert_eq!(sink.past_query_ids.len(), 100);
        for (query_id, resume, part) in [
            ("q2", true, "was replaced by query q102"),
            ("q101", true, "was replaced by query q102"),
            // The sink has forgotten q1, and treats it like any other query.
            ("q1", false, "belongs to query q102"),
        ] {
            let refusal = admit(&mut sink.clone(), &batch(query_id, 7, resume)).unwrap_err();
            let report = refusal.report().to_string();
            assert!(report.contains(part), "{query_id}: {report}");
        }
        admit(&mut sink, &batch("q1", 7, true)).unwrap();
        assert_eq!(sink.run, 103);
    }

    #[test]
    fn batches_written_before_the_sink_was_known_count() {
        let named = |last| Sink {
            is_new: true,
            ..sink("q", last)
        };
        admit(&mut named(None), &batch("q", 0, false)).unwrap();
        admit(&mut named(Some(5)), &batch("q", 5, false)).unwrap();
        let refusal = admit(&mut named(Some(5)), &batch("q", 0, false)).unwrap_err();
        assert!(
            refusal
                .report()
                .to_string()
                .contains("batch 5 was committed last"),
            "{refusal}"
        );
        let mut adopted = named(Some(5));
        admit(&mut adopted, &batch("q", 0, true)).unwrap();
        assert_eq!((adopted.run, adopted.last_batch), (1, None));
    }

    #[test]
    fn names_of_batches_differ_whatever_sinks_are_called() {
        let name = |sink_id: &str, batch_id, run| {
            SinkBatch {
                sink_id: sink_id.to_owned(),
                ..batch("q", batch_id, false)
            }
            .name(run)
        };
        assert_eq!(name("s", 7, 0), "s:7");
        assert_eq!(name("s", 7, 2), "s:7~2");
        assert_ne!(name("s~2", 7, 0), name("s", 7, 2));
        assert_ne!(name("s:7", 2, 0), name("s", 7, 2));
    }
}
