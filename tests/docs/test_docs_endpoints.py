"""docs/api.md and the README tell every endpoint, and the tour calls each."""

import re
import shlex
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

import function_app
from functions.http import ENDPOINTS, Endpoint
from scheduler.api.action_bodies import BackfillBody, ControlBody
from scheduler.api.keys import KeyBody
from scheduler.api.previews import PreviewBody
from tests.docs.field_tables import documented_defaults, real_defaults
from tests.docs.markdown import DOCS, README, blocks, read, section, table, words

PAGE = DOCS / "api.md"
TOUR = "A tour of five minutes"


def _role(endpoint: Endpoint) -> str:
    return "open" if endpoint.role is None else endpoint.role.value


def _calls(script: str) -> Iterator[tuple[str, str]]:
    """The (method, path) of each curl command in a shell script."""
    joined = script.replace("\\\n", " ")
    for start in re.finditer(r"\bcurl ", joined):
        arguments = shlex.split(_command(joined[start.start() :]))
        data = any(word.startswith(("-d", "--data")) for word in arguments)
        method = arguments[arguments.index("-X") + 1] if "-X" in arguments else ""
        url = next(word for word in arguments if word.startswith("$BASE"))
        yield method or ("POST" if data else "GET"), urlsplit(url.removeprefix("$BASE")).path


def _command(text: str) -> str:
    """The text up to the end of its first shell command."""
    quote = ""
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "|;)\n" or text.startswith("<<", place):
            return text[:place]
    return text


def _endpoint(method: str, path: str) -> Endpoint:
    for endpoint in ENDPOINTS:
        route = "[^/]+".join(map(re.escape, re.split(r"\{\w+\}", f"/{endpoint.route}")))
        literal = "{" not in endpoint.route
        if endpoint.method == method and (
            path == f"/{endpoint.route}" if literal else re.fullmatch(route, path)
        ):
            return endpoint
    raise AssertionError(f"the tour calls {method} {path}, and there is no such endpoint")


def test_the_app_is_loaded_with_all_its_endpoints() -> None:
    assert function_app.app is not None
    assert len({(endpoint.method, endpoint.route) for endpoint in ENDPOINTS}) == len(ENDPOINTS)


def test_api_page_lists_every_endpoint_with_role_status_and_query() -> None:
    documented = {
        (
            words(row["method"])[0],
            words(row["path"])[0],
            row["role"],
            int(row["status"]),
            tuple(words(row["query"])),
        )
        for row in table(section(PAGE, "Calls"), "method", "path")
    }
    assert documented == {
        (one.method, f"/{one.route}", _role(one), one.status, one.query) for one in ENDPOINTS
    }


def test_readme_lists_every_endpoint_with_its_role() -> None:
    rows = table(section(README, "The calls"), "call", "least role")
    documented = {(words(row["call"])[0], row["least role"]) for row in rows}
    assert documented == {(f"{one.method} /{one.route}", _role(one)) for one in ENDPOINTS}


def test_the_tour_calls_every_endpoint() -> None:
    script = "\n".join(blocks(section(README, TOUR), "bash"))
    called = {_endpoint(method, path).name for method, path in _calls(script)}
    assert called == {endpoint.name for endpoint in ENDPOINTS}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_api_page_says_something_of_every_endpoint_outside_of_its_list(endpoint: Endpoint) -> None:
    rest = read(PAGE).replace(section(PAGE, "Calls").partition("###")[0], "")
    parent = f"/{endpoint.route}".partition("/{")[0]
    assert parent in rest


def test_the_fields_of_a_key_are_documented() -> None:
    documented = documented_defaults(section(PAGE, "Keys: `/api/v2/keys`"))
    assert documented == real_defaults(KeyBody)


def test_the_fields_of_a_preview_are_documented() -> None:
    documented = documented_defaults(
        section(PAGE, "Look at a schedule: `POST /api/v2/schedules/preview`")
    )
    assert documented == real_defaults(PreviewBody)


def test_the_fields_of_a_backfill_are_documented() -> None:
    documented = documented_defaults(section(PAGE, "Make up for missed runs: backfill"))
    assert documented == real_defaults(BackfillBody)


def test_the_fields_of_the_control_word_are_documented() -> None:
    documented = documented_defaults(
        section(PAGE, "Pause and stop the scheduler: `/api/v2/control`")
    )
    assert documented == real_defaults(ControlBody)
