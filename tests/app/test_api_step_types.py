"""`steps/types`: what can be run here, with schemas, and by whom."""

from tests.app.exchange import check_success
from tests.app.live_app import LiveApp

TYPES = "/api/v2/steps/types"


def test_built_in_and_plug_in_types_are_listed_with_their_schemas(live: LiveApp) -> None:
    body = check_success(live.call("GET", TYPES))
    assert body["step_types"] == [one["type"] for one in body["types"]] == ["note", "sql"]
    assert body["count"] == 2
    note, sql = body["types"]
    assert note["schema"]["required"] == ["text"]
    assert sql["schema"]["properties"].keys() >= {"query", "connection_name", "parameters"}
    assert (sql["available"], sql["unavailable_reason"]) == (True, None)
    assert all(one["title"] and one["description"] for one in body["types"])


def test_each_caller_sees_which_types_are_allowed(live: LiveApp) -> None:
    def allowed(key: str) -> dict[str, bool]:
        types = check_success(live.call("GET", TYPES, key=key))["types"]
        return {one["type"]: one["allowed"] for one in types}

    assert allowed(live.make_key("author", "sql")) == {"note": False, "sql": True}
    assert allowed(live.make_key("operator", "*")) == {"note": True, "sql": True}
    assert allowed(live.make_key("viewer")) == {"note": False, "sql": False}
