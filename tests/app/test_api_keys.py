"""API keys over HTTP: made, shown once, listed, revoked."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.app.exchange import JOBS, KEYS, check_fault, check_problem, check_success
from tests.app.live_app import LiveApp


def _listed(live: LiveApp, key_id: str) -> dict[str, Any]:
    keys = check_success(live.call("GET", KEYS))["keys"]
    (found,) = (key for key in keys if key["key_id"] == key_id)
    return dict(found)


def test_a_key_is_shown_once_and_opens_what_it_is_for(live: LiveApp) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"name": "Nightly", "role": "author", "step_types": ["note"], "expires_at": until}
    made = check_success(live.call("POST", KEYS, body), 201)
    assert made["key"].startswith(f"jsk_{made['key_id']}_")
    check_success(live.call("GET", JOBS, key=made["key"]))
    reply = live.call("GET", KEYS)
    assert made["key"] not in reply.body.decode()
    assert made["key"].rpartition("_")[2] not in reply.body.decode()
    listed = _listed(live, made["key_id"])
    assert listed.items() >= {"name": "Nightly", "role": "author", "status": "active"}.items()
    assert (listed["step_types"], listed["created_by"]) == (["note"], "first-admin")
    assert datetime.fromisoformat(listed["expires_at"]) == datetime.fromisoformat(until)
    assert listed["last_used_at"] is not None


def test_a_key_can_come_as_a_bearer_token(live: LiveApp) -> None:
    key = live.make_key("viewer")
    check_success(live.call("GET", JOBS, key=None, authorization=f"Bearer {key}"))
    reply = live.call("GET", JOBS, key=None, authorization=f"Basic {key}")
    assert "Bearer" in check_problem(reply, 401, "not_authenticated")["detail"]


def test_a_revoked_key_opens_nothing_from_then_on(live: LiveApp) -> None:
    key = live.make_key("viewer")
    key_id = key.split("_")[1]
    check_success(live.call("GET", JOBS, key=key))
    assert check_success(live.call("DELETE", f"{KEYS}/{key_id}"))["status"] == "revoked"
    check_problem(live.call("GET", JOBS, key=key), 401, "not_authenticated")
    check_success(live.call("DELETE", f"{KEYS}/{key_id}"))
    assert _listed(live, key_id)["status"] == "revoked"


@pytest.mark.parametrize("key_id", ["abcdefgh", "'", "%2F", "..%2F", "ABCDEFGH", "x" * 2_000])
def test_an_unknown_key_cannot_be_revoked(live: LiveApp, key_id: str) -> None:
    reply = live.call("DELETE", f"{KEYS}/{key_id}")
    check_problem(reply, 404, "key_not_found")
    assert len(reply.body) < 2_000


@pytest.mark.parametrize(
    ("fields", "pointer", "fault"),
    [
        ({"name": None}, "/name", "missing"),
        ({"name": "a\r\nSet-Cookie: b"}, "/name", "invalid_format"),
        ({"role": "root"}, "/role", "invalid_choice"),
        ({"role": "author"}, "/step_types", "missing"),
        ({"role": "author", "step_types": ["sqll"]}, "/step_types/0", "unknown_step_type"),
        ({"step_types": "*"}, "/step_types", "wrong_type"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at", "in_the_past"),
        ({"expires_at": "2030-01-01T00:00:00"}, "/expires_at", "missing_offset"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "/expires_at", "invalid_value"),
        ({"expires_at": 4_102_444_800}, "/expires_at", "wrong_type"),
        ({"rol": "admin"}, "/rol", "unknown_field"),
    ],
)
def test_a_wrong_key_is_refused_and_none_is_made(
    live: LiveApp, fields: dict[str, Any], pointer: str, fault: str
) -> None:
    with live.writes() as writes:
        reply = live.call("POST", KEYS, {"name": "x", "role": "viewer", **fields})
        check_fault(reply, pointer, fault)
    assert writes == []
