"""`execution/status`: the zones, their queues, and what runs in them."""

from datetime import UTC, datetime

from tests.app.exchange import EXECUTE, check_success, note_job
from tests.app.live_app import LiveApp

STATUS = "/api/v2/execution/status"
FIELDS = {
    *("engine_started", "status", "timezone_queues", "total_queues", "total_active_executions"),
    *("last_tick", "tick_lag_seconds", "poison_messages", "checks", "version", "timestamp"),
}
ZONE_FIELDS = {
    *("timezone", "queue", "queue_size", "active_executions", "waiting", "max_concurrent"),
    *("running", "oldest_wait_seconds"),
}


def test_status_has_the_declared_zones_and_those_in_use(live: LiveApp) -> None:
    started = live.call("POST", EXECUTE, note_job(timezone="Asia/Kathmandu")).json()
    body = check_success(live.call("GET", STATUS))
    assert body.keys() >= FIELDS
    zones = body["timezone_queues"]
    assert zones.keys() >= {"UTC", "America/New_York", "Asia/Kathmandu"}
    assert body["total_queues"] == len(zones)
    for name, zone in zones.items():
        assert zone.keys() >= ZONE_FIELDS
        assert (zone["timezone"], zone["max_concurrent"]) == (name, 50)
    kathmandu = zones["Asia/Kathmandu"]
    assert kathmandu["queue"] == f"{live.name}-tz-asia-kathmandu"
    assert (kathmandu["declared"], kathmandu["queue_size"]) == (False, 1)
    assert zones["UTC"]["declared"] is True
    live.finish(started["execution_id"])
    after = check_success(live.call("GET", STATUS))["timezone_queues"]["Asia/Kathmandu"]
    assert (after["queue_size"], after["active_executions"], after["waiting"]) == (0, 0, 0)


def test_the_tick_leaves_its_time_in_the_status(live: LiveApp) -> None:
    before = datetime.now(UTC)
    live.run(live.worker.timer("tick"))
    live.run(live.worker.timer("upkeep"))
    body = check_success(live.call("GET", STATUS))
    assert datetime.fromisoformat(body["last_tick"]) >= before
    assert 0 <= body["tick_lag_seconds"] < 30
    assert (body["status"], body["poison_messages"]) == ("healthy", 0)
    assert {check["name"]: check["status"] for check in body["checks"]}.items() >= {
        ("tick", "ok"),
        ("poison", "ok"),
    }


def test_the_engine_started_when_the_app_did_not_when_someone_first_asked(live: LiveApp) -> None:
    body = check_success(live.call("GET", STATUS))
    assert datetime.fromisoformat(body["engine_started"]) <= live.loaded_at
