"""What a release of PySpark cannot run."""

from __future__ import annotations

import sys

import pyspark
import pytest

#: PySpark 3.3 cannot pickle functions of Python 3.11.
needs_functions = pytest.mark.skipif(
    pyspark.__version__.startswith("3.3.") and sys.version_info >= (3, 11),
    reason="PySpark 3.3 runs no Python functions on Python 3.11",
)
