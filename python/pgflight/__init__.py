"""Writes Spark, pandas, polars and Arrow data to PostgreSQL through a pgflight server.

Without Spark::

    with pgflight.connect("grpc://host:8815") as client:
        result = client.write(table, "public.trips", mode="create")

With Spark 3.3 or later::

    result = pgflight.write_dataframe(df, "grpc://host:8815", "public.trips", mode="append")

A stream, which writes each batch exactly once::

    df.writeStream.foreachBatch(pgflight.foreach_batch(url, "public.trips", sink_id="trips"))

With Spark 4.0 or later, also as a data source::

    pgflight.register(spark)
    df.write.format("pgflight").mode("append") \\
        .option("url", "grpc://host:8815").option("dbtable", "public.trips").save()
"""

from __future__ import annotations

from pgflight.client import Client, connect
from pgflight.distributed import DistributedWrite
from pgflight.errors import (
    AlreadyExists,
    Cancelled,
    Conflict,
    DataRejected,
    Internal,
    InvalidCommand,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    PgFlightError,
    PgFlightWarning,
    PreparedLost,
    ReceiptMissing,
    SchemaMismatch,
    Timeout,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from pgflight.options import WriteOptions
from pgflight.progress import Progress
from pgflight.result import (
    PlannedColumn,
    RejectReason,
    RowCounts,
    WritePlan,
    WriteResult,
    WriteStatus,
)
from pgflight.spark.jar import spark_jar
from pgflight.spark.streaming import foreach_batch
from pgflight.spark.write import last_result, register, write_dataframe

__version__ = "0.1.0"

__all__ = [
    "AlreadyExists",
    "Cancelled",
    "Client",
    "Conflict",
    "DataRejected",
    "DistributedWrite",
    "Internal",
    "InvalidCommand",
    "NotFound",
    "OutcomeUnknown",
    "PermissionDenied",
    "PgFlightError",
    "PgFlightWarning",
    "PlannedColumn",
    "PreparedLost",
    "Progress",
    "ReceiptMissing",
    "RejectReason",
    "RowCounts",
    "SchemaMismatch",
    "Timeout",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "WriteOptions",
    "WritePlan",
    "WriteResult",
    "WriteStatus",
    "connect",
    "foreach_batch",
    "last_result",
    "register",
    "spark_jar",
    "write_dataframe",
]
