"""Differences before PySpark 4.0; skipped for later versions."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

import pgflight
import pyspark_pgflight


def test_register_is_rejected_with_a_hint(spark: SparkSession) -> None:
    with pytest.raises(pgflight.Unsupported, match=r"call pgflight.write_dataframe"):
        pgflight.register(spark)


def test_the_spark_4_module_can_be_imported_on_spark_3() -> None:
    assert not hasattr(pyspark_pgflight, "DefaultSource")
