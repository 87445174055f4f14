"""The office's SQLite database, made anew and read back through ODBC."""

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyodbc

from office_calendar.failure import Failed

SCHEMA = Path(__file__).resolve().parent.parent / "schema.sql"
LOG_ENTRIES = 5_000
LOG_DAYS = 120
LONG_AGO = "2000-01-01"
"""The day of the summary rows that are there before the job runs, so that it has some to update."""


@dataclass(frozen=True, slots=True)
class Zone:
    """One line of `zone1970.tab`."""

    name: str
    countries: tuple[str, ...]
    coordinates: str
    comment: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What was loaded: what the checks compare the job's results with."""

    zones: list[Zone]
    countries: dict[str, str]
    log_days: list[date]

    def entries_before(self, day: date) -> int:
        """How many log entries are older than this day."""
        return sum(logged < day for logged in self.log_days)

    @property
    def countries_with_a_zone(self) -> int:
        """How many countries the summary has to hold."""
        return len({country for zone in self.zones for country in zone.countries})


def connection_string(path: Path) -> str:
    """The ODBC connection string of a SQLite file.

    Raises:
        Failed: unixODBC knows no SQLite driver.
    """
    drivers = [name for name in pyodbc.drivers() if "sqlite" in name.lower()]
    if not drivers:
        raise Failed("unixODBC knows no SQLite driver: run `make setup`")
    driver = max(drivers)  # SQLite3 rather than SQLite
    return f"Driver={driver};Database={path};Timeout=3000;FKSupport=1;JournalMode=WAL"


def load(connection_text: str, today: date) -> Contents:
    """Makes the tables and fills them: the tz database's own, and a log that ends today."""
    contents = Contents(zones=_zones(), countries=_countries(), log_days=[])
    log = list(_log(contents.zones, today))
    contents.log_days.extend(date.fromisoformat(day) for _, day, _ in log)
    with _connected(connection_text) as cursor:
        for statement in SCHEMA.read_text("utf-8").split(";"):
            if statement.strip():
                cursor.execute(statement)
        _fill(cursor, "country", contents.countries.items())
        _fill(cursor, "zone", [(z.name, z.coordinates, z.comment) for z in contents.zones])
        pairs = [(country, zone.name) for zone in contents.zones for country in zone.countries]
        _fill(cursor, "country_zone", pairs)
        cursor.executemany("INSERT INTO office_log (office, day, entry) VALUES (?, ?, ?)", log)
        stale = sorted({country for country, _ in pairs if country < "N"})
        _fill(cursor, "country_summary", [(country, 0, 0, LONG_AGO) for country in stale])
    return contents


def rows(connection_text: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What a query finds in the database now."""
    with _connected(connection_text) as cursor:
        return [tuple(row) for row in cursor.execute(query, *values).fetchall()]


@contextmanager
def _connected(connection_text: str) -> Iterator[pyodbc.Cursor]:
    pyodbc.pooling = False
    try:
        with closing(pyodbc.connect(connection_text)) as connection, connection:
            yield connection.cursor()
    except pyodbc.Error as error:
        raise Failed(f"the example's database: {error.args[-1]}") from error


def _fill(cursor: pyodbc.Cursor, table: str, lines: Any) -> None:  # noqa: ANN401
    lines = list(lines)
    marks = ", ".join("?" * len(lines[0]))
    cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", lines)


def _tab(name: str) -> Iterator[list[str]]:
    text = files("tzdata").joinpath("zoneinfo", name).read_text("utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            yield line.split("\t")


def _zones() -> list[Zone]:
    return [
        Zone(name, tuple(codes.split(",")), coordinates, comment[0] if comment else "")
        for codes, coordinates, name, *comment in _tab("zone1970.tab")
    ]


def _countries() -> dict[str, str]:
    return {code: name for code, name, *_ in _tab("iso3166.tab")}


def _log(zones: list[Zone], today: date) -> Iterator[tuple[str, str, str]]:
    """The same entries at every run but for their days, which are counted back from today."""
    chance = random.Random(1970)
    for _ in range(LOG_ENTRIES):
        day = today - timedelta(days=chance.randrange(LOG_DAYS))
        entry = chance.choice(("opened", "closed", "had a visitor"))
        yield chance.choice(zones).name, day.isoformat(), entry
