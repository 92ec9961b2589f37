"""A job as a cluster runs it: submitted, on executors that are processes of their own, the client in a zip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pyspark
from conftest import ROOT, Database, Server

ROWS = 10_000

#: Executors of their own, as in a cluster; Spark makes them for its own tests.
MASTER = "local-cluster[2,1,1024]"

JOB = """
import sys

import pgflight
from pyspark.sql import SparkSession

url, rows = sys.argv[1], int(sys.argv[2])
spark = SparkSession.builder.getOrCreate()
df = spark.range(0, rows, 1, 4)


def where(_):
    import pgflight

    yield pgflight.__file__


used = spark.sparkContext.parallelize(range(4), 4).mapPartitions(where).distinct().collect()
assert all("pgflight.zip" in file for file in [*used, pgflight.__file__]), used
pgflight.write_dataframe(df, url, "public.by_function", mode="create")
if hasattr(spark, "dataSource"):
    pgflight.register(spark)
    save = df.write.format("pgflight").mode("append").option("url", url)
    save.option("dbtable", "public.by_source").option("createTable", "true").save()
"""


def test_the_client_travels_to_a_cluster_as_a_zip(
    server: Server, database: Database, tmp_path: Path
) -> None:
    archive = tmp_path / "pgflight.zip"
    with zipfile.ZipFile(archive, "w") as files:
        for package in ("pgflight", "pyspark_pgflight"):
            for file in (ROOT / "python" / package).rglob("*.py"):
                files.write(file, file.relative_to(ROOT / "python"))
    job = tmp_path / "job.py"
    job.write_text(JOB)
    home = Path(pyspark.__file__).parent
    options = ["--master", MASTER, "--conf", "spark.ui.enabled=false", "--py-files", str(archive)]
    options += ["--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.log.level=ERROR"]
    environment = {**os.environ, "SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable}
    # The zip is what is imported, and not this checkout.
    environment.pop("PYTHONPATH", None)
    command = [str(home / "bin" / "spark-submit"), *options, str(job), server.url, str(ROWS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    # Spark keeps the executors' files in its own folder, whatever its settings say.
    shutil.rmtree(home / "work", ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tables = ["by_function"] + ["by_source"] * (pyspark.__version__ >= "4")
    for table in tables:
        counted = database.rows(f"SELECT count(*), count(DISTINCT id) FROM {table}")
        assert counted == [(ROWS, ROWS)], table
