"""What a list of executions is asked for: filters, limit, and the place where it goes on."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from scheduler.api.faults import did_you_mean
from scheduler.api.paging import invalid_continuation, read_continuation, read_limit
from scheduler.dispatch.ids import Trigger, is_job_id
from scheduler.errors import InvalidRequest, ScheduleError
from scheduler.execution.rules.states import RunState
from scheduler.schedule.zones import resolve_timezone

FILTERS = ("status", "job_id", "timezone", "trigger", "from", "to")
_PLACE = frozenset({"part", "group", "token", "for"})
_YEARS = (1970, 2999)
_NONE = re.compile(r"(?!)")
_FORMS = {
    (True, "job"): re.compile(""),
    (False, "unfinished"): re.compile("[a-z0-9-]{0,63}"),
    (False, "ended"): re.compile("[0-9]{8}"),
}
"""The forms of the group of a place, by whether the list is of one job, and its part."""
_TOKEN = re.compile("([!-~]{1,600} [!-~]{0,600})?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a list goes on: in which of its parts, in which zone or day of it, by which token."""

    part: str
    group: str = ""
    token: str = ""

    def to_json(self, fingerprint: str) -> dict[str, str]:
        """Its form in a continuation of the list with these filters."""
        return {"part": self.part, "group": self.group, "token": self.token, "for": fingerprint}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQuery:
    """A list's filters: instants are aware, `states` empty for all."""

    limit: int
    job_id: str | None
    states: tuple[RunState, ...]
    timezone: str | None
    trigger: Trigger | None
    from_: datetime | None
    to: datetime | None
    place: Place | None = None

    @property
    def fingerprint(self) -> str:
        """Tells lists with other filters apart: a continuation is of one of them only."""
        times = [one.isoformat() if one else "" for one in (self.from_, self.to)]
        parts = [self.job_id or "", *self.states, self.timezone or "", self.trigger or "", *times]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]

    @property
    def where(self) -> dict[str, Sequence[str]]:
        """The filters that rows of storage are chosen by, column by column."""
        found: dict[str, Sequence[str]] = {}
        if self.states:
            found["state"] = self.states
        if self.timezone is not None:
            found["timezone"] = (self.timezone,)
        if self.trigger is not None:
            found["trigger"] = (self.trigger,)
        return found

    @property
    def wants_unfinished(self) -> bool:
        """Whether executions that have not ended are asked for, too."""
        return not self.states or any(not state.finished for state in self.states)

    @property
    def wants_ended(self) -> bool:
        """Whether executions that have ended are asked for, too."""
        return not self.states or any(state.finished for state in self.states)

    @property
    def wants_success(self) -> bool:
        """Whether those that ended well are asked for, too."""
        return not self.states or RunState.SUCCESS in self.states

    def admits(self, entry: Mapping[str, Any]) -> bool:
        """Whether an unfinished execution is one of those asked for; its time is when it is due."""
        due = entry["scheduled_time"]
        return (
            (not self.states or entry["status"] in self.states)
            and self.timezone in (None, entry["timezone"])
            and self.trigger in (None, entry["trigger"])
            and (self.from_ is None or due >= self.from_)
            and (self.to is None or due < self.to)
        )


def read_query(query: Mapping[str, str], job_id: str | None, now: datetime) -> ExecutionQuery:
    """Reads the query of a list; `job_id` is that of the path, where it has one.

    Raises:
        InvalidRequest: `invalid_limit`, `invalid_continuation`, `invalid_status`,
            `invalid_trigger`, `invalid_job_id`, `unknown_timezone`, `invalid_time`,
            `missing_offset`, `from_after_to`.
    """
    job = job_id if job_id is not None else _job_id(query.get("job_id"))
    from_, to = _instant(query, "from"), _instant(query, "to")
    if from_ is not None and to is not None and from_ >= to:
        raise InvalidRequest.of("", "from_after_to", "from must be an instant before that of to")
    asked = ExecutionQuery(
        limit=read_limit(query),
        job_id=job,
        states=_states(query.get("status")),
        timezone=_timezone(query.get("timezone")),
        trigger=_trigger(query.get("trigger")),
        from_=from_,
        to=to,
    )
    return _at(asked, query, now)


def _at(asked: ExecutionQuery, query: Mapping[str, str], now: datetime) -> ExecutionQuery:
    """The query with the place where its list begins, or goes on."""
    place = read_continuation(query, _PLACE)
    if place is None:
        return replace(asked, place=_beginning(asked, now))
    if place["for"] != asked.fingerprint:
        raise invalid_continuation()
    part, group, token = place["part"], place["group"], place["token"]
    form = _FORMS.get((asked.job_id is not None, part), _NONE)
    if not form.fullmatch(group) or not _TOKEN.fullmatch(token):
        raise invalid_continuation()
    if part == "ended" and not _is_day(group):
        raise invalid_continuation()
    return replace(asked, place=Place(part, group, token))


def _is_day(text: str) -> bool:
    try:
        return _YEARS[0] <= day_of(text).year <= _YEARS[1]
    except ValueError:
        return False


def day_of(text: str) -> date:
    """The day that a partition of the list of days is of.

    Raises:
        ValueError: there is no such day.
    """
    return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()


def _beginning(asked: ExecutionQuery, now: datetime) -> Place | None:
    if asked.job_id is not None:
        return Place("job")
    if asked.wants_unfinished:
        return Place("unfinished")
    return first_day(asked, now)


def first_day(asked: ExecutionQuery, now: datetime) -> Place | None:
    """Where those that have ended begin: with the last; None where they are not asked for."""
    if not asked.wants_ended:
        return None
    latest = now if asked.to is None else min(asked.to, now)
    return Place("ended", f"{latest.astimezone(UTC):%Y%m%d}")


def _states(text: str | None) -> tuple[RunState, ...]:
    if text is None:
        return ()
    known = [state.value for state in RunState]
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in known:
            near = did_you_mean(word, known) or f"; write one or more of {', '.join(known)}"
            raise InvalidRequest.of(
                "", "invalid_status", f"status has {word[:40]!r}, which is none{near}"
            )
    return tuple(dict.fromkeys(RunState(word) for word in words))


def _trigger(text: str | None) -> Trigger | None:
    known = [trigger.value for trigger in Trigger]
    if text is not None and text not in known:
        near = did_you_mean(text, known) or f"; write one of {', '.join(known)}"
        raise InvalidRequest.of("", "invalid_trigger", f"trigger is {text[:40]!r}{near}")
    return None if text is None else Trigger(text)


def _job_id(text: str | None) -> str | None:
    if text is not None and not is_job_id(text):
        raise InvalidRequest.of(
            "", "invalid_job_id", "job_id must be 1 to 64 letters, digits, _ and -"
        )
    return text


def _timezone(name: str | None) -> str | None:
    try:
        return None if name is None else resolve_timezone(name)
    except ScheduleError as error:
        raise InvalidRequest.of("", error.fault, error.message) from None


def _instant(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        # In an address a plus stands for a blank, and an offset has one.
        instant = datetime.fromisoformat(text.strip().replace(" ", "+"))
    except ValueError:
        raise InvalidRequest.of(
            "", "invalid_time", f"{name} must be a time in ISO 8601, such as 2027-03-14T00:00:00Z"
        ) from None
    if instant.tzinfo is None:
        raise InvalidRequest.of(
            "", "missing_offset", f"{name} must carry an offset, such as Z or -05:00"
        )
    if not _YEARS[0] <= instant.year <= _YEARS[1]:
        raise InvalidRequest.of(
            "", "invalid_time", f"{name} must be in the years {_YEARS[0]} to {_YEARS[1]}"
        )
    return instant
