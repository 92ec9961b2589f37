"""The jar of the data source in the JVM, which a wheel may carry."""

from __future__ import annotations

from pathlib import Path

from pgflight.errors import NotFound

#: Where `scripts/wheel` puts the jar.
_FOLDER = Path(__file__).resolve().parents[1] / "jars"


def spark_jar() -> str:
    """Returns the path of the jar of the Spark data source in the JVM, for `spark.jars`.

    The session must get it when it starts::

        SparkSession.builder.config("spark.jars", pgflight.spark_jar()).getOrCreate()

    Raises `NotFound` if this installation carries no jar.
    """
    jars = sorted(_FOLDER.glob("pgflight-spark-*.jar"))
    if not jars:
        raise NotFound(
            "this installation of pgflight carries no jar",
            hint="install a wheel made by scripts/wheel, or build the jar in spark/ by mvn package",
        )
    return str(jars[-1])
