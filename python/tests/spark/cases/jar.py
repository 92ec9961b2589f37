"""What the tests of the data source in the JVM share."""

from __future__ import annotations

import os

import pytest

from pgflight import errors

needs_jar = pytest.mark.skipif(
    "PGFLIGHT_SPARK_JAR" not in os.environ, reason="PGFLIGHT_SPARK_JAR names no jar"
)


def described(raised: BaseException) -> errors.PgFlightError:
    """Reads the error of the JVM from the text that a user sees."""
    error = errors.from_spark(raised)
    assert error is not None, str(raised)
    return error
