"""Lets Spark 4 find `format("pgflight")` by itself.

Spark imports every top-level module whose name begins with `pyspark_` and takes its `DefaultSource`. An exception here
would break all Python data sources of the session. So where the data source cannot be imported (an older PySpark, no
pyarrow), this module simply has no `DefaultSource`.
"""

import contextlib

with contextlib.suppress(Exception):
    from pgflight.spark.datasource import PgFlightDataSource as DefaultSource  # noqa: F401
