"""Whether the jobs did what they say: their answers against the data, and the data by itself."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from office_calendar import database
from office_calendar.api import Document
from office_calendar.database import LONG_AGO, Contents

KEPT_DAYS = 90
NEW_YORK = ZoneInfo("America/New_York")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
KATHMANDU_OFFSET = timedelta(hours=5, minutes=45)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what should be so, what was expected and what was found."""

    text: str
    expected: object
    found: object

    @property
    def passed(self) -> bool:
        """Whether it is so."""
        return self.expected == self.found

    def __str__(self) -> str:
        if self.passed:
            return self.text
        return f"{self.text}: expected {self.expected}, found {self.found}"


def steps_of(execution: Document) -> dict[str, Document]:
    """The steps of an execution by their ids."""
    return {step["step_id"]: step for step in execution["steps"]}


def rows_of(step: Document) -> list[Document]:
    """The rows that a step returned."""
    return list((step["output"] or {}).get("rows", ()))


def check_office_day(execution: Document, contents: Contents, connection_text: str) -> list[Check]:
    """Compares the job in New York with the data that were loaded."""
    steps = steps_of(execution)
    today = _instant(execution["scheduled_time"]).astimezone(NEW_YORK).date()
    keep_from = today - timedelta(days=KEPT_DAYS)
    return [
        _purged(steps["purge_old_log"], contents, keep_from.isoformat(), connection_text),
        _summarized(steps["summarize_countries"], contents, connection_text),
        _reported(steps["report"], today.isoformat()),
        _retried(steps, today.isoformat(), connection_text),
    ]


def _purged(step: Document, contents: Contents, keep_from: str, connection_text: str) -> Check:
    old = contents.entries_before(datetime.fromisoformat(keep_from).date())
    kept = len(contents.log_days) - old
    [(found, oldest)] = database.rows(connection_text, "SELECT COUNT(*), MIN(day) FROM office_log")
    return Check(
        f"{old:,} log entries older than {keep_from} are gone, {kept:,} are left",
        ([{"purged": old, "kept": kept}], kept, True),
        (rows_of(step), found, oldest >= keep_from),
    )


def _summarized(step: Document, contents: Contents, connection_text: str) -> Check:
    countries = contents.countries_with_a_zone
    zones = sum(len(zone.countries) for zone in contents.zones)
    query = "SELECT COUNT(*), SUM(updated_on = ?) FROM country_summary"
    [(found, stale)] = database.rows(connection_text, query, LONG_AGO)
    return Check(
        f"the summary has each of {countries} countries once, none of them out of date",
        ([{"countries": countries, "zones": zones}], countries, 0),
        (rows_of(step), found, stale),
    )


def _reported(step: Document, today: str) -> Check:
    days = {row["day"] for row in rows_of(step)}
    return Check(f"the report is of {today}, the day in New York", {today}, days)


def _retried(steps: dict[str, Document], today: str, connection_text: str) -> Check:
    outcomes = [attempt["outcome"] for attempt in steps["file_report"]["attempt_history"]]
    attempts = [step["attempts"] for step in steps.values()]
    filed = database.rows(connection_text, "SELECT day, attempt FROM filed_report")
    return Check(
        "file_report failed once and was filed by attempt 2, the other steps took one",
        ([1, 1, 1, 2], ["failed", "success"], [(today, 2)]),
        (attempts, outcomes, filed),
    )


def check_kathmandu(execution: Document, last_tick: datetime) -> list[Check]:
    """Looks at the run in Kathmandu: who started it, when, and what the wall clock said."""
    due = _instant(execution["scheduled_time"])
    started = _instant(execution["start_time"])
    wall = due.astimezone(KATHMANDU)
    noted = {"day": f"{wall:%Y-%m-%d}", "entry": f"the clock says {wall:%H:%M}"}
    late = started - due
    return [
        Check(
            f"the schedule started the run, after the tick of {last_tick:%H:%M:%S} UTC",
            ("schedule", True),
            (execution["trigger"], last_tick >= due),
        ),
        Check(
            f"it started {late.total_seconds():.1f} s after its minute, not before it",
            True,
            late >= timedelta(0),
        ),
        Check(
            f"{due:%H:%M} UTC is {wall:%H:%M} in Kathmandu, and so the step noted",
            (KATHMANDU_OFFSET, [noted]),
            (wall.utcoffset(), rows_of(execution["steps"][0])),
        ),
    ]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
