"""Values that a step publishes: typed, listed, in reach of the steps after it and of no other."""

from typing import Any

import pytest

from scheduler.errors import InvalidRequest
from tests.storage.scripted import fails, succeeds
from tests.storage.simulation import Simulation
from tests.storage.wire import Mode

COUNT: dict[str, Any] = {"id": "count", "publish": ["rows", "name"]}
USE: dict[str, Any] = {"id": "use", "parameters": "{{steps.count.rows}}"}


def bound(sim: Simulation, step: str) -> list[object]:
    """The parameters that a step's attempts got."""
    return [one.parameters for one in sim.script.ran if one.step == step]


@pytest.mark.parametrize("value", [7, 2.5, True, False, None, "", "späť ✓", "{{today}}"])
async def test_a_value_keeps_its_type_where_it_stands_alone(
    sim: Simulation, value: str | float | bool | None
) -> None:
    sim.script.acts["count"] = [succeeds(rows=value, name="orders")]
    text = "{{steps.count.name}}: {{ steps.count.rows }}"
    execution_id = await sim.execute("job", COUNT, {**USE, "parameters": [text, USE["parameters"]]})
    await sim.run()
    words = {True: "true", False: "false", None: "null"}
    shown = words[value] if value is None or isinstance(value, bool) else str(value)
    assert bound(sim, "use") == [[f"orders: {shown}", value]]
    body = await sim.read(execution_id)
    assert body["status"] == "success"
    assert body["steps"][0]["published"] == {"rows": value, "name": "orders"}
    await sim.assert_nothing_left()


async def test_only_what_is_listed_is_published_and_what_is_missing_is_told(
    sim: Simulation,
) -> None:
    sim.script.acts["count"] = [succeeds(row=1, other="hidden", name=["no", "scalar"])]
    execution_id = await sim.execute("job", COUNT)
    await sim.run()
    step = (await sim.read(execution_id))["steps"][0]
    assert (step["status"], step["published"]) == ("success", {})
    assert step["metadata"]["publish_error"] == (
        "its result has no rows; the values that it has: row, other, name;"
        " neither text, number, true, false nor null: name"
    )


async def test_a_step_whose_value_is_not_there_fails_and_says_what_to_do(sim: Simulation) -> None:
    sim.script.acts["count"] = [succeeds(name="orders")]
    execution_id = await sim.execute("job", COUNT, {**USE, "max_retries": 3})
    await sim.run()
    step = (await sim.read(execution_id))["steps"][1]
    assert (step["status"], step["attempts"], step["error_code"]) == (
        "failed",
        1,
        "value_not_published",
    )
    assert step["error_message"] == (
        "{{steps.count.rows}} has no value: it published name; list rows in the publish of step"
        " count, and see that its result has it"
    )
    assert bound(sim, "use") == []


async def test_values_of_a_step_that_failed_are_not_there_for_the_one_that_cleans_up(
    sim: Simulation,
) -> None:
    sim.script.acts["count"] = [fails()]
    execution_id = await sim.execute("job", COUNT, {**USE, "run_if": "always"})
    await sim.run()
    step = (await sim.read(execution_id))["steps"][1]
    assert "it published nothing (it is failed)" in step["error_message"]


async def test_more_than_16_kib_are_not_published(sim: Simulation) -> None:
    sim.script.acts["count"] = [succeeds(rows="x" * 16_384, name="n")]
    execution_id = await sim.execute("job", COUNT)
    await sim.run()
    step = (await sim.read(execution_id))["steps"][0]
    assert (step["status"], step["published"]) == ("success", {})
    assert "over the limit of 16384" in step["metadata"]["publish_error"]


async def test_the_value_of_a_second_attempt_counts(sim: Simulation) -> None:
    sim.script.acts["count"] = [fails(retry_after=1), succeeds(rows=2, name="b")]
    await sim.execute("job", {**COUNT, "max_retries": 1}, USE)
    await sim.run()
    assert bound(sim, "use") == [2]


async def test_while_storage_does_not_answer_the_values_are_waited_for(sim: Simulation) -> None:
    sim.script.acts["count"] = [succeeds(rows=2, name="b")]
    execution_id = await sim.execute("job", COUNT, USE)
    await sim.deliver()
    sim.wire.arm(1, Mode.REFUSED, lambda kind: kind == "Executions get")
    await sim.run()
    step = (await sim.read(execution_id))["steps"][1]
    assert (step["status"], step["attempts"]) == ("success", 1)


@pytest.mark.parametrize(
    ("steps", "place", "code"),
    [
        (
            [COUNT, {**USE, "parameters": "{{steps.cuont.rows}}"}],
            "/steps/1/parameters",
            "unknown_step",
        ),
        (
            [COUNT, {**USE, "parameters": ["{{steps.count.row}}"]}],
            "/steps/1/parameters/0",
            "value_not_published",
        ),
        ([USE, COUNT], "/steps/0/parameters", "step_not_before"),
        (
            [{**COUNT, "depends_on": []}, {**USE, "depends_on": []}],
            "/steps/1/parameters",
            "step_not_before",
        ),
        (
            [COUNT, {**USE, "parameters": "{{steps.count}}"}],
            "/steps/1/parameters",
            "invalid_template",
        ),
        (
            [COUNT, {**USE, "parameters": "{{steps.count.rows-1d}}"}],
            "/steps/1/parameters",
            "invalid_template",
        ),
        (
            [COUNT, {"id": "use", "note": "{{steps.count.rows}}"}],
            "/steps/1/note",
            "template_not_allowed",
        ),
    ],
)
async def test_a_name_that_leads_to_no_value_is_refused_with_its_place(
    sim: Simulation, steps: list[dict[str, Any]], place: str, code: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await sim.create("job", *steps)
    fault = refused.value.errors[0]
    assert (fault.pointer, fault.code) == (place, code)
