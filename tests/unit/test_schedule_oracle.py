"""A slow oracle that shares no code with the scheduler: minute by minute over two days."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.schedule import next_runs
from tests.unit.tzif import shifts

MINUTE = timedelta(minutes=1)
WINDOW = timedelta(days=2)
MARGIN = timedelta(hours=30)
ZONES = [
    "UTC",
    "America/New_York",
    "America/St_Johns",
    "America/Havana",
    "America/Sao_Paulo",
    "America/Santiago",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Africa/Monrovia",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Europe/London",
    "Europe/Istanbul",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Fakaofo",
]
SHIFTS = {zone: [shift.at for shift in shifts(zone, 1970, 2037)] for zone in ZONES}


def values(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            first, last = str(low), str(high)
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


def matches_day(text: str, weekday: str, wall: datetime) -> bool:
    last = monthrange(wall.year, wall.month)[1]
    days = any(
        wall.day == last if item == "L" else wall.day in values(item, 1, 31)
        for item in text.split(",")
    )
    today, week = wall.isoweekday() % 7, (wall.day - 1) // 7 + 1
    weekdays = any(
        item == f"{today}#{week}"
        if "#" in item
        else today in {value % 7 for value in values(item, 0, 6 if "*" in item else 7)}
        for item in weekday.split(",")
    )
    both = text.startswith("*") or weekday.startswith("*")
    return (days and weekdays) if both else (days or weekdays)


def matches(expression: str, wall: datetime) -> bool:
    minute, hour, day, month, weekday = expression.split()
    return (
        wall.second == 0
        and wall.minute in values(minute, 0, 59)
        and wall.hour in values(hour, 0, 23)
        and wall.month in values(month, 1, 12)
        and matches_day(day, weekday, wall)
    )


def expected(expression: str, zone: str, after: datetime) -> list[datetime]:
    minute, hour = expression.split()[:2]
    line = timeline(zone, after)
    if minute.startswith("*") or hour.startswith("*"):
        found = [instant for instant, wall in line if matches(expression, wall)]
    else:
        found = fixed(expression, line)
    return [instant for instant in found if after < instant <= after + WINDOW]


def timeline(zone: str, after: datetime) -> list[tuple[datetime, datetime]]:
    """Each half minute with what the clock shows; half because Liberia kept 44 min 30 s."""
    step = MINUTE / 2 if zone == "Africa/Monrovia" else MINUTE
    start = (after - MARGIN).replace(second=0, microsecond=0)
    length = int((WINDOW + 2 * MARGIN) / step)
    instants = [start + place * step for place in range(length)]
    info = ZoneInfo(zone)
    return [(instant, instant.astimezone(info).replace(tzinfo=None)) for instant in instants]


def fixed(expression: str, line: list[tuple[datetime, datetime]]) -> list[datetime]:
    first: dict[datetime, datetime] = {}
    for instant, wall in line:
        first.setdefault(wall.replace(fold=0), instant)
    found: set[datetime] = set()
    wall = line[0][1].replace(second=0, fold=0) + MINUTE
    place = 0
    while wall < line[-1][1]:
        if wall not in first:
            # In a gap: the first instant at which the clock shows a later time.
            place = next(i for i in range(len(line)) if line[i][1] > wall)
        instant = first.get(wall, line[place][0])
        if matches(expression, wall):
            found.add(instant)
        wall += MINUTE
    return sorted(found)


def joined(items: st.SearchStrategy[int]) -> st.SearchStrategy[str]:
    lists = st.lists(items, min_size=1, max_size=3, unique=True)
    return lists.map(lambda numbers: ",".join(map(str, sorted(numbers))))


def spans(low: int, high: int) -> st.SearchStrategy[str]:
    pairs = st.tuples(st.integers(low, high), st.integers(low, high), st.integers(1, 9))
    return pairs.map(lambda span: f"{min(span[:2])}-{max(span[:2])}/{span[2]}")


EXPRESSIONS = st.tuples(
    st.one_of(
        st.just("*"), st.just("*/7"), joined(st.integers(0, 59)), spans(0, 59), st.just("0,30")
    ),
    st.one_of(
        st.just("*"), st.just("*/3"), joined(st.integers(0, 4)), spans(0, 23), st.just("0,2,23")
    ),
    st.one_of(st.just("*"), st.just("*"), st.just("*/2"), st.just("L"), joined(st.integers(1, 31))),
    st.one_of(st.just("*"), st.just("*"), st.just("3,4,9-12")),
    st.one_of(
        st.just("*"),
        st.just("*"),
        st.just("*/2"),
        joined(st.integers(0, 7)),
        spans(0, 7),
        st.tuples(st.integers(0, 6), st.integers(1, 5)).map(lambda pair: f"{pair[0]}#{pair[1]}"),
    ),
).map(" ".join)


@st.composite
def starts(draw: st.DrawFn) -> tuple[str, datetime]:
    zone = draw(st.sampled_from(ZONES))
    anchors = SHIFTS[zone] or [datetime(2026, 2, 28, tzinfo=UTC)]
    near = draw(st.sampled_from(anchors))
    return zone, near + timedelta(seconds=draw(st.integers(-2 * 86_400, 3 * 3_600)))


@settings(max_examples=250, deadline=None)
@given(expression=EXPRESSIONS, start=starts())
def test_runs_are_those_of_a_minute_by_minute_search(
    expression: str, start: tuple[str, datetime]
) -> None:
    zone, after = start
    wanted = expected(expression, zone, after)
    got = next_runs(expression, zone, after, len(wanted) + 1)
    assert got[: len(wanted)] == wanted
    assert all(run > after + WINDOW for run in got[len(wanted) :])
