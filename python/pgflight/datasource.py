"""The data source for Spark 4.0 and later: `df.write.format("pgflight")`.

Importing this module needs a PySpark that has `DataSourceArrowWriter`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, MutableMapping, Optional

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.datasource import DataSource, DataSourceArrowWriter, WriterCommitMessage

from pgflight import planner, spark_options
from pgflight.distributed import DistributedWrite
from pgflight.errors import Conflict, InvalidCommand, Unsupported
from pgflight.spark_schema import arrow_schema
from pgflight.streaming import sink_batch

try:
    from pyspark.sql.datasource import DataSourceStreamArrowWriter as _StreamArrowWriter
except ImportError:  # before Spark 4.1, which never asks for one

    class _StreamArrowWriter:  # type: ignore[no-redef]
        pass


#: Spark's own options of a stream, which it hands on to its output.
_OPTIONS_OF_STREAMS = ("checkpointlocation", "queryname")


class PgFlightDataSource(DataSource):
    """Writes a frame to a PostgreSQL table. `pgflight.spark_options` has the options."""

    def __init__(self, options: MutableMapping[str, str]) -> None:
        super().__init__(options)

    @classmethod
    def name(cls) -> str:
        return "pgflight"

    def schema(self) -> Any:
        raise Unsupported("pgflight writes to PostgreSQL; to read, use Spark's format('jdbc')")

    def writer(self, schema: Any, overwrite: bool) -> DataSourceArrowWriter:
        """Begins the write: Spark calls it once for each save, on the driver, before any task."""
        options = spark_options.parse(self.options, overwrite)
        if options.sink_id is not None or options.resume:
            raise InvalidCommand(
                "options sinkId and resume are for streams: name this save by writeId"
            )
        spec = options.spec(schema.names)
        # The session's settings cannot be seen from here; time zone and large types are labels
        # that the server does not hold an attempt to.
        arrow = arrow_schema(schema)
        write = planner.begin(options.endpoint, spec, arrow, options.write_id)
        if write.status.is_repeated:
            # Spark has no way to give this to the caller; it goes to the driver's standard error.
            print(f"pgflight: {write.status.table}: {write.status.repeated_line}", file=sys.stderr)
        return PgFlightWriter(write)

    def streamWriter(self, schema: Any, overwrite: bool) -> Any:
        """Makes the writer of a stream: Spark 4.1 and later. Each batch is written exactly once."""
        given = {k: v for k, v in self.options.items() if k.lower() not in _OPTIONS_OF_STREAMS}
        options = spark_options.parse(given, overwrite)
        if options.write_id is not None:
            raise InvalidCommand("a stream names its writes itself: use option sinkId, not writeId")
        if options.resume and options.sink_id is None:
            raise InvalidCommand(
                "option 'resume' lets this query take the place of another in a sink: name it by sinkId"
            )
        return PgFlightStreamWriter(options, schema)


class PgFlightWriter(DataSourceArrowWriter):
    """One write. Pickled to the tasks, and back to the driver for commit and abort."""

    def __init__(self, write: DistributedWrite) -> None:
        self._write = write

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        """Sends one attempt of one partition."""
        if self._write.is_committed:
            return AttemptReceipt(None)
        context = TaskContext.get()
        assert context is not None, "Spark calls this in a task"
        receipt = self._write.attempt(context.partitionId(), str(context.taskAttemptId()), iterator)
        return AttemptReceipt(receipt)

    def commit(self, messages: List[Optional[WriterCommitMessage]]) -> None:
        """Publishes the attempts that Spark accepted."""
        if self._write.is_committed:
            return
        # A partition without rows has a receipt all the same.
        status = self._write.commit(_receipts(messages), allow_no_receipts=not messages)
        planner.end(self._write)
        # As above: for the driver's standard error.
        line = f"pgflight: {status.table}: {status.row_count:,} rows, write {status.write_id}"
        print(line, file=sys.stderr)

    def abort(self, messages: List[Optional[WriterCommitMessage]]) -> None:
        """Ends the write, unless it was the answer of a commit that worked which was lost.

        Tasks may still be running: the server refuses them from now on.
        """
        if self._write.is_committed:
            return
        finished = sum(message is not None for message in messages)
        # Quietly: Spark has an exception at hand that says more than that the server is away.
        status = self._write.abort_quietly(
            f"Spark aborted it: {finished} of {len(messages)} partitions had finished"
        )
        if status is None:
            return
        planner.end(self._write)
        if status.state in ("committed", "committing"):
            # Spark reports a failure all the same; somebody will look why.
            line = (
                f"pgflight: write {status.write_id} was already {status.state}, and its answer was "
                f"lost: {status.row_count:,} rows are in {status.table}"
            )
            print(line, file=sys.stderr)


@dataclass
class AttemptReceipt(WriterCommitMessage):
    """What a finished task tells the driver; None where there was nothing to send."""

    receipt: Optional[Dict[str, Any]]


class PgFlightStreamWriter(_StreamArrowWriter):
    """The output of a stream. Spark makes a new one for every commit and abort.

    So all that must be remembered travels in the messages, and a task begins the write of its batch
    itself: the first makes it, the others find it.
    """

    def __init__(self, options: spark_options.SparkOptions, schema: Any):
        self._options = options
        self._spec = options.spec(schema.names)
        self._schema = arrow_schema(schema)

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        """Sends one attempt of one partition of a batch."""
        context = TaskContext.get()
        assert context is not None, "Spark calls this in a task"
        write = self._begin(
            # The query's id outlives restarts from the same checkpoint, as batch numbers do.
            context.getLocalProperty("sql.streaming.queryId"),
            context.getLocalProperty("streaming.sql.batchId"),
        )
        if write.is_committed:
            return AttemptReceipt(None)
        receipt = write.attempt(context.partitionId(), str(context.taskAttemptId()), iterator)
        return AttemptReceipt(receipt)

    def commit(self, messages: List[Optional[WriterCommitMessage]], batchId: int) -> None:
        """Publishes the attempts that Spark accepted.

        Nothing where there are none: then the batch is there already, or had no task, and so no write.
        """
        receipts = _receipts(messages)
        if receipts:
            self._write_of(receipts).commit(receipts)

    def abort(self, messages: List[Optional[WriterCommitMessage]], batchId: int) -> None:
        """Ends the write of the batch, as far as a task has begun it."""
        receipts = _receipts(messages)
        if receipts:
            self._write_of(receipts).abort_quietly(f"Spark aborted batch {batchId} of the stream")

    def _begin(self, query_id: Optional[str], batch_id: Optional[str]) -> DistributedWrite:
        options = self._options
        if batch_id is None or not (options.sink_id or query_id):
            raise Unsupported(
                "Spark does not say which batch this is: use option sinkId, or "
                "pgflight.foreach_batch"
            )
        if options.sink_id is None:
            name = f"{query_id}:{batch_id}"
            return DistributedWrite.begin(options.endpoint, self._spec, self._schema, name)
        sink = sink_batch(options.sink_id, query_id, int(batch_id), options.resume)
        return DistributedWrite.begin(options.endpoint, self._spec, self._schema, sink=sink)

    def _write_of(self, receipts: List[Dict[str, Any]]) -> DistributedWrite:
        ids = sorted({receipt["writeId"] for receipt in receipts})
        if len(ids) > 1:
            raise Conflict(f"the tasks of one batch wrote to several writes: {', '.join(ids)}")
        return DistributedWrite.of(
            self._options.endpoint, ids[0], self._schema, self._options.target or ""
        )


def _receipts(messages: List[Optional[WriterCommitMessage]]) -> List[Dict[str, Any]]:
    return [m.receipt for m in messages if isinstance(m, AttemptReceipt) and m.receipt]
