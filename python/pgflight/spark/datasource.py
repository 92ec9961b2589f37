"""The data source for Spark 4.0 and later: `df.write.format("pgflight")`.

Importing this module needs a PySpark that has `DataSourceArrowWriter`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, MutableMapping, Optional

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.datasource import DataSource, DataSourceArrowWriter, WriterCommitMessage

from pgflight.distributed import DistributedWrite
from pgflight.errors import Conflict, InvalidCommand, Unsupported
from pgflight.options import WriteOptions
from pgflight.spark import options as spark_options
from pgflight.spark import planner, task
from pgflight.spark.schema import TIME_ZONE, arrow_schema, in_session, matching
from pgflight.spark.streaming import sink_batch

try:
    from pyspark.sql.datasource import DataSourceStreamArrowWriter as _StreamArrowWriter
except ImportError:
    from pyspark.sql.datasource import DataSourceStreamWriter

    # Spark 4.0 has no such class. It passes batches to every writer that is a DataSourceArrowWriter, and asks of the
    # writer of a stream that it is a DataSourceStreamWriter.
    class _StreamArrowWriter(DataSourceStreamWriter, DataSourceArrowWriter):  # type: ignore[no-redef]
        pass


#: Spark's own options of a stream, which it passes on to its output.
_OPTIONS_OF_STREAMS = ("checkpointlocation", "queryname")


class PgFlightDataSource(DataSource):
    """Writes a frame to a PostgreSQL table. `docs/spark.md` lists the options."""

    def __init__(self, options: MutableMapping[str, str]) -> None:
        super().__init__(options)

    @classmethod
    def name(cls) -> str:
        return "pgflight"

    def schema(self) -> Any:
        raise Unsupported("format('pgflight') only writes", hint="read by Spark's format('jdbc')")

    def writer(self, schema: Any, overwrite: bool) -> DataSourceArrowWriter:
        """Begins the write. Spark calls it once for each save, on the driver, before any task."""
        options = spark_options.parse(self.options, overwrite)
        replaces_part = options.write.replace_by or options.write.replace_where
        if overwrite and not options.overwrites_all and not replaces_part:
            _reject_dynamic_overwrite(planner.setting("spark.sql.sources.partitionOverwriteMode"))
        if options.sink_id is not None or options.resume:
            raise InvalidCommand(
                "options sinkId and resume have no effect on a save",
                hint="name the save by writeId",
            )
        # The session's settings are not visible here. Its time zone and large types are labels, which may differ
        # between begin and attempts.
        arrow = arrow_schema(schema)
        write = planner.begin(
            options.endpoint,
            options.table,
            arrow,
            matching(_in_session(options.write), schema.names),
            options.write_id,
        )
        if write.status.is_repeated:
            # Spark cannot pass this to the caller, so it goes to the driver's standard error.
            print(f"pgflight: {write.status.table}: {write.status.repeated_line}", file=sys.stderr)
            planner.end(write, write.status.result(0))
        return PgFlightWriter(write, time.time())

    def streamWriter(self, schema: Any, overwrite: bool) -> Any:
        """Returns the writer of a stream, which writes each batch exactly once."""
        given = {k: v for k, v in self.options.items() if k.lower() not in _OPTIONS_OF_STREAMS}
        options = spark_options.parse(given, overwrite)
        if options.write_id is not None:
            raise InvalidCommand(
                "option writeId has no effect on a stream", hint="use option sinkId"
            )
        if options.resume and options.sink_id is None:
            raise InvalidCommand(
                "option resume is set without a sink", hint="name the sink by option sinkId"
            )
        return PgFlightStreamWriter(options, schema)


class PgFlightWriter(DataSourceArrowWriter):
    """One write. Spark pickles it for the tasks, and for commit and abort on the driver."""

    def __init__(self, write: DistributedWrite, begun_at: float) -> None:
        self._write = write
        self._begun_at = begun_at

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        """Sends one attempt of one partition."""
        if self._write.is_committed:
            return AttemptReceipt(None)
        receipt = self._write.attempt(*task.identity(), iterator)
        return AttemptReceipt(receipt)

    def commit(self, messages: List[Optional[WriterCommitMessage]]) -> None:
        """Publishes the attempts that Spark accepted."""
        if self._write.is_committed:
            return
        # A partition without rows has a receipt as well.
        status = self._write.commit(_receipts(messages), allow_no_receipts=not messages)
        planner.end(self._write, status.result(time.time() - self._begun_at))
        # As above, to the driver's standard error.
        rejected = f", {status.rejected_count:,} rejected" if status.rejected_count else ""
        line = f"pgflight: {status.table}: {status.row_count:,} rows{rejected}, write {status.write_id}"
        print(line, file=sys.stderr)

    def abort(self, messages: List[Optional[WriterCommitMessage]]) -> None:
        """Aborts the write. It stays committed if only the answer of its commit was lost.

        Tasks may still run; the server rejects them from now on.
        """
        if self._write.is_committed:
            return
        finished = sum(message is not None for message in messages)
        # Quietly, since Spark's own exception says more than that the server is away.
        status = self._write.abort_quietly(
            f"Spark aborted the write after {finished} of {len(messages)} partitions"
        )
        if status is None:
            return
        planner.end(self._write)
        if status.state in ("committed", "committing"):
            # Spark still reports a failure, so this line explains it.
            line = (
                f"pgflight: the answer to the commit of write {status.write_id} was lost; it is "
                f"{status.state}: {status.row_count:,} rows are in {status.table}"
            )
            print(line, file=sys.stderr)


def _in_session(options: WriteOptions) -> WriteOptions:
    return in_session(options, lambda: planner.setting(TIME_ZONE))


def _reject_dynamic_overwrite(mode: Optional[str]) -> None:
    """Rejects an overwrite that would replace all rows in a session that asks for a replacement of the partitions."""
    if mode is not None and mode.lower() == "dynamic":
        raise Unsupported(
            "spark.sql.sources.partitionOverwriteMode is dynamic, and mode 'overwrite' would replace all rows",
            hint=(
                "name the columns of the partitions in option replaceBy, or set option partitionOverwriteMode to static "
                "to replace all rows"
            ),
        )


@dataclass
class AttemptReceipt(WriterCommitMessage):
    """The message of a finished task to the driver. The receipt is None if there was nothing to send."""

    receipt: Optional[Dict[str, Any]]


class PgFlightStreamWriter(_StreamArrowWriter):
    """The output of a stream.

    Spark makes a new one for every commit and abort, so all state travels in the messages. Each task begins the write
    of its batch: the first task creates it, the others find it.
    """

    def __init__(self, options: spark_options.SparkOptions, schema: Any):
        self._options = options
        self._write_options = matching(_in_session(options.write), schema.names)
        self._schema = arrow_schema(schema)

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        """Sends one attempt of one partition of a batch."""
        context = TaskContext.get()
        assert context is not None, "Spark calls this in a task"
        write = self._begin(
            # Like batch numbers, the query's id survives restarts from the same checkpoint.
            context.getLocalProperty("sql.streaming.queryId"),
            context.getLocalProperty("streaming.sql.batchId"),
        )
        if write.is_committed:
            return AttemptReceipt(None)
        receipt = write.attempt(*task.identity(), iterator)
        return AttemptReceipt(receipt)

    def commit(self, messages: List[Optional[WriterCommitMessage]], batchId: int) -> None:
        """Publishes the attempts that Spark accepted.

        Without receipts there is nothing to do: the batch is in the table already, or had no task and so no write.
        """
        receipts = _receipts(messages)
        if receipts:
            self._write_of(receipts).commit(receipts)

    def abort(self, messages: List[Optional[WriterCommitMessage]], batchId: int) -> None:
        """Aborts the write of the batch, if a task has begun it."""
        receipts = _receipts(messages)
        if receipts:
            self._write_of(receipts).abort_quietly(f"Spark aborted batch {batchId} of the stream")

    def _begin(self, query_id: Optional[str], batch_id: Optional[str]) -> DistributedWrite:
        options = self._options
        if batch_id is None or not (options.sink_id or query_id):
            raise Unsupported(
                "Spark does not say which batch this is",
                hint="use option sinkId, or pgflight.foreach_batch",
            )
        if options.sink_id is None:
            name = f"{query_id}:{batch_id}"
            return DistributedWrite.begin(
                options.endpoint, options.table, self._schema, self._write_options, name
            )
        sink = sink_batch(options.sink_id, query_id, int(batch_id), options.resume)
        return DistributedWrite.begin(
            options.endpoint, options.table, self._schema, self._write_options, sink=sink
        )

    def _write_of(self, receipts: List[Dict[str, Any]]) -> DistributedWrite:
        ids = sorted({receipt["writeId"] for receipt in receipts})
        if len(ids) > 1:
            raise Conflict(
                f"the tasks of one batch sent attempts of several writes: {', '.join(ids)}"
            )
        target = self._options.write.target or ""
        return DistributedWrite.of(self._options.endpoint, ids[0], self._schema, target)


def _receipts(messages: List[Optional[WriterCommitMessage]]) -> List[Dict[str, Any]]:
    return [m.receipt for m in messages if isinstance(m, AttemptReceipt) and m.receipt]
