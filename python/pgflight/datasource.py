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
from pgflight.errors import Unsupported
from pgflight.spark_schema import arrow_schema, match_columns


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
        spec = options.spec(match_columns(options.column_types, schema.names))
        # The session's settings cannot be seen from here; time zone and large types are labels
        # that the server does not hold an attempt to.
        arrow = arrow_schema(schema)
        write = DistributedWrite.begin(options.endpoint, spec, arrow, options.write_id)
        return PgFlightWriter(write)


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
        receipts = [m.receipt for m in messages if isinstance(m, AttemptReceipt) and m.receipt]
        status = self._write.commit(receipts)
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
        self._write.abort_quietly(
            f"Spark aborted it: {finished} of {len(messages)} partitions had finished"
        )


@dataclass
class AttemptReceipt(WriterCommitMessage):
    """What a finished task tells the driver; None where there was nothing to send."""

    receipt: Optional[Dict[str, Any]]
