//! The COPYs that the rows of one stream go into. With several of them, the next chunk goes to one that has room.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use futures_util::future::{select_all, try_join_all};

use crate::error::{Error, Result};
use crate::pg::{CheckedCondition, CopySink, Transaction};
use arrow_pgcopy::format;
use arrow_pgcopy::{EncodePlan, QualifiedName};

/// Number of bytes of one CopyData message: large enough to make the cost per message negligible, and small enough to
/// keep the buffers between here and the socket below one megabyte.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// Number of chunks whose row runs a lane remembers to find their rows in the stream. PostgreSQL reports an error about a
/// row before the lane has sent as many further chunks: the buffers in between hold fewer.
const REMEMBERED: u64 = 256;

/// The totals of a COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Number of rows sent.
    pub row_count: u64,
    /// Number of rows that PostgreSQL counted. It is lower when a trigger of the table leaves rows out.
    pub copied_row_count: u64,
    /// Number of bytes of COPY sent.
    pub byte_count: u64,
}

/// A COPY on a connection of its own.
pub(crate) struct Lane {
    sink: CopySink,
    row_count: u64,
    row_map: RowMap,
}

/// Maps rows of the COPY to rows of the stream.
#[derive(Default)]
struct RowMap {
    runs: VecDeque<Run>,
    /// Number of chunks.
    chunk_count: u64,
}

/// Consecutive rows of the stream that are consecutive in the COPY.
struct Run {
    /// The first row in the COPY.
    here: u64,
    /// The first row in the stream.
    in_stream: u64,
    /// The chunk that it begins in.
    chunk: u64,
}

impl Lane {
    /// Starts the COPY of the plan's columns into a table. A row outside the condition fails it.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub(crate) async fn open(
        transaction: &Transaction,
        table: &QualifiedName,
        plan: &EncodePlan,
        only: Option<&CheckedCondition>,
    ) -> Result<Self> {
        let mut sink = CopySink::open(transaction, table, plan.column_names(), only).await?;
        sink.send(Bytes::from_static(&format::HEADER)).await?;
        Ok(Self {
            sink,
            row_count: 0,
            row_map: RowMap::default(),
        })
    }

    async fn ready(&mut self) -> Result<()> {
        let ready = self.sink.ready().await;
        ready.map_err(|error| self.row_map.localize(error))
    }

    async fn failed(&mut self) -> Error {
        let error = self.sink.wait_error().await;
        self.row_map.localize(error)
    }

    fn put(&mut self, chunk: Bytes, rows: &[Range<u64>]) -> Result<()> {
        for run in rows {
            self.row_map.add(self.row_count, run.start);
            self.row_count += run.end - run.start;
        }
        self.row_map.chunk_count += 1;
        self.sink.put(chunk)
    }

    /// Ends the COPY. Its rows become visible when its transaction commits.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports about a row.
    pub(crate) async fn finish(mut self) -> Result<Loaded> {
        self.ready().await?;
        self.sink.put(Bytes::from_static(&format::TRAILER))?;
        let byte_count = self.sink.byte_count();
        let finished = self.sink.finish().await;
        Ok(Loaded {
            row_count: self.row_count,
            copied_row_count: finished.map_err(|error| self.row_map.localize(error))?,
            byte_count,
        })
    }
}

impl RowMap {
    /// Adds a run of rows that follows all others.
    fn add(&mut self, here: u64, in_stream: u64) {
        let goes_on = |run: &Run| here - run.here == in_stream.wrapping_sub(run.in_stream);
        if self.runs.back().is_some_and(goes_on) {
            return;
        }
        let chunk = self.chunk_count;
        self.runs.push_back(Run {
            here,
            in_stream,
            chunk,
        });
        // The run before the oldest chunk may reach into it.
        while self
            .runs
            .get(1)
            .is_some_and(|next| next.chunk + REMEMBERED < chunk)
        {
            self.runs.pop_front();
        }
    }

    /// Translates the row of the COPY in an error to the row of the stream.
    fn localize(&self, error: Error) -> Error {
        error.with_context(|context| {
            context.row = context.row.and_then(|row| {
                let mut runs = self.runs.iter().rev();
                let run = runs.find(|run| run.here <= row)?;
                Some(run.in_stream + (row - run.here))
            });
        })
    }
}

/// The lanes of a stream. Dropping them before their end fails the COPYs, and PostgreSQL keeps none of the rows.
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// The lane that received the last chunk.
    last: usize,
    /// Bytes that it has received since it was chosen.
    given: usize,
    byte_count: u64,
}

impl Lanes {
    /// Creates the lanes of a stream with one connection.
    pub(crate) fn one(lane: Lane) -> Self {
        Self::new(vec![lane])
    }

    /// Creates the lanes of a stream with these connections.
    pub(crate) fn new(lanes: Vec<Lane>) -> Self {
        Self {
            lanes,
            last: 0,
            given: 0,
            byte_count: 0,
        }
    }

    /// Returns the number of bytes of rows that all lanes have received.
    pub(crate) fn byte_count(&self) -> u64 {
        self.byte_count
    }

    /// Sends a chunk with these rows of the stream, in runs of consecutive rows, to a lane that has room. Waits until one
    /// has.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports about the rows of a lane. The lanes are unusable then.
    pub(crate) async fn send(&mut self, chunk: Bytes, rows: &[Range<u64>]) -> Result<()> {
        // Small chunks go to the same lane, so rows of a batch stay neighbours in the table.
        if self.lanes.len() > 1 && self.given + chunk.len() > CHUNK_BYTES {
            self.choose().await?;
        } else {
            self.lane()?.ready().await?;
        }
        self.given += chunk.len();
        self.byte_count += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.lane()?.put(chunk, rows)
    }

    /// Completes with the error that PostgreSQL reports about a row of any lane, or with that of a broken connection.
    pub(crate) async fn failed(&mut self) -> Error {
        match self.lanes.as_mut_slice() {
            [lane] => lane.failed().await,
            lanes => {
                select_all(lanes.iter_mut().map(|lane| Box::pin(lane.failed())))
                    .await
                    .0
            }
        }
    }

    fn lane(&mut self) -> Result<&mut Lane> {
        let lane = self.lanes.get_mut(self.last);
        lane.ok_or_else(|| Error::internal("a stream has no connection"))
    }

    /// Chooses the next lane that has room. Polls all lanes, to return an error of any.
    async fn choose(&mut self) -> Result<()> {
        let first = (self.last + 1) % self.lanes.len();
        let (before, from) = self.lanes.split_at_mut(first);
        let in_turn = from.iter_mut().chain(before);
        let (ready, chosen, _) = select_all(in_turn.map(|lane| Box::pin(lane.ready()))).await;
        ready?;
        self.last = (first + chosen) % self.lanes.len();
        self.given = 0;
        Ok(())
    }

    /// Ends the COPY of the only lane.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports about a row.
    pub(crate) async fn finish_one(self) -> Result<Loaded> {
        let loaded = self.finish().await?.pop();
        loaded.ok_or_else(|| Error::internal("a stream has no connection"))
    }

    /// Ends all COPYs. Returns the totals of each, in their order.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports about a row.
    pub(crate) async fn finish(self) -> Result<Vec<Loaded>> {
        try_join_all(self.lanes.into_iter().map(Lane::finish)).await
    }
}
