"""Health: open to all, and open about nothing else."""

from tests.app.conftest import PASSWORD
from tests.app.exchange import check_success
from tests.app.live_app import ADMIN, LiveApp


def test_live_answers_without_a_key_and_without_storage(live: LiveApp) -> None:
    with live.storage_down():
        body = check_success(live.call("GET", "/api/health/live", key=None))
    assert body["status"] == "live"


def test_ready_tells_what_was_looked_at(live: LiveApp) -> None:
    reply = live.call("GET", "/api/health/ready", key=None)
    body = check_success(reply)
    checks = {check["name"]: check["status"] for check in body["checks"]}
    assert checks == {
        "configuration": "ok",
        "storage": "ok",
        "step_type:note": "ok",
        "step_type:sql": "ok",
    }
    assert body["status"] == "ready"
    for secret in (ADMIN, PASSWORD, live.name, "AccountKey"):
        assert secret not in reply.body.decode()


def test_ready_is_503_while_storage_is_out_of_reach_and_200_again_after(live: LiveApp) -> None:
    with live.storage_down():
        reply = live.call("GET", "/api/health/ready", key=None)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    body = reply.json()
    assert (body["success"], body["status"]) == (False, "not_ready")
    assert [check["name"] for check in body["checks"] if check["status"] == "failed"] == ["storage"]
    check_success(live.call("GET", "/api/health/ready", key=None))
