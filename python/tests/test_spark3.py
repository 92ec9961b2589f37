"""What differs before PySpark 4.0; left out for later ones."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

import pgflight
import pyspark_pgflight


def test_registering_is_refused_with_what_to_do(spark: SparkSession) -> None:
    with pytest.raises(pgflight.Unsupported, match=r"call pgflight.write_dataframe"):
        pgflight.register(spark)


def test_the_module_that_spark_4_looks_for_can_be_imported_all_the_same() -> None:
    assert not hasattr(pyspark_pgflight, "DefaultSource")
