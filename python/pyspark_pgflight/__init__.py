"""Lets Spark 4 find `format("pgflight")` by itself.

Spark imports every top-level module whose name begins with `pyspark_` and takes its `DefaultSource`.
An exception here would take all Python data sources of the session down, so there is none: where
the data source cannot be had (an older PySpark, no pyarrow), there simply is no `DefaultSource`.
"""

try:
    from pgflight.datasource import PgFlightDataSource as DefaultSource  # noqa: F401
except Exception:  # noqa: BLE001
    pass
