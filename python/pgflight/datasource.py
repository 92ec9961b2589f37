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

from pgflight import spark_options
from pgflight.distributed import DistributedWrite
from pgflight.errors import Conflict, InvalidCommand, Unsupported
from pgflight.spark_schema import arrow_schema

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
        spec = options.spec(schema.names)
        # The session's settings cannot be seen from here; time zone and large types are labels
        # that the server does not hold an attempt to.
        arrow = arrow_schema(schema)
        write = DistributedWrite.begin(options.endpoint, spec, arrow, options.write_id)
        return PgFlightWriter(write)

    def streamWriter(self, schema: Any, overwrite: bool) -> Any:
        """Makes the writer of a stream: Spark 4.1 and later. Each batch is written exactly once."""
        given = {k: v for k, v in self.options.items() if k.lower() not in _OPTIONS_OF_STREAMS}
        options = spark_options.parse(given, overwrite)
        if options.write_id is not None:
            raise InvalidCommand("a stream names its writes itself: use option sinkId, not writeId")
        return PgFlightStreamWriter(options, self.options.get("sinkid"), schema)


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
        status = self._write.commit(_receipts(messages))
        # Spark has no way to give this to the caller; it goes to the driver's standard error.
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
        if status is not None and status.state == "committed":
            # Spark reports a failure all the same; somebody will look why.
            line = (
                f"pgflight: write {status.write_id} was already committed, and its answer was lost: "
                f"{status.row_count:,} rows are in {status.table}"
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

    def __init__(self, options: spark_options.SparkOptions, sink_id: Optional[str], schema: Any):
        self._options = options
        self._sink_id = sink_id
        self._spec = options.spec(schema.names)
        self._schema = arrow_schema(schema)

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        """Sends one attempt of one partition of a batch."""
        context = TaskContext.get()
        assert context is not None, "Spark calls this in a task"
        # The query's id outlives restarts from the same checkpoint, as batch numbers do.
        sink = self._sink_id or context.getLocalProperty("sql.streaming.queryId")
        batch = context.getLocalProperty("streaming.sql.batchId")
        if not sink or batch is None:
            raise Unsupported(
                "Spark does not say which batch this is: use option sinkId, or "
                "pgflight.foreach_batch"
            )
        write = DistributedWrite.begin(
            self._options.endpoint, self._spec, self._schema, f"{sink}:{batch}"
        )
        if write.is_committed:
            return AttemptReceipt(None)
        receipt = write.attempt(context.partitionId(), str(context.taskAttemptId()), iterator)
        return AttemptReceipt(receipt)

    def commit(self, messages: List[Optional[WriterCommitMessage]], batchId: int) -> None:
        """Publishes the attempts that Spark accepted; nothing where the batch is there already."""
        receipts = _receipts(messages)
        if receipts:
            self._write_of(receipts).commit(receipts)

    def abort(self, messages: List[Optional[WriterCommitMessage]], batchId: int) -> None:
        """Ends the write of the batch, as far as a task has begun it."""
        receipts = _receipts(messages)
        if receipts:
            self._write_of(receipts).abort_quietly(f"Spark aborted batch {batchId} of the stream")

    def _write_of(self, receipts: List[Dict[str, Any]]) -> DistributedWrite:
        ids = sorted({receipt["writeId"] for receipt in receipts})
        if len(ids) > 1:
            raise Conflict(f"the tasks of one batch wrote to several writes: {', '.join(ids)}")
        return DistributedWrite.of(
            self._options.endpoint, ids[0], self._schema, self._options.target or ""
        )


def _receipts(messages: List[Optional[WriterCommitMessage]]) -> List[Dict[str, Any]]:
    return [m.receipt for m in messages if isinstance(m, AttemptReceipt) and m.receipt]
