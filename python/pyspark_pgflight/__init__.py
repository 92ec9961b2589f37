"""Lets Spark 4 find `format("pgflight")` by itself.

Spark imports every top-level module whose name begins with `pyspark_` and takes its `DefaultSource`.
An exception here would take all Python data sources of the session down, so there is none: where
the data source cannot be had (an older PySpark, no pyarrow), there simply is no `DefaultSource`.
"""

import contextlib

with contextlib.suppress(Exception):
    from pgflight.datasource import PgFlightDataSource as DefaultSource  # noqa: F401
