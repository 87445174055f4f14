"""`GET executions/{id}/steps/{step}/output`: the whole of it, or a part, whatever its size."""

import json
from typing import Any

import pytest

from scheduler.errors import NotFound, RangeNotSatisfiable
from tests.storage.scripted import Hold, fails, succeeds
from tests.storage.simulation import AUTHOR, CALLER, Simulation

LARGE = {"rows": [{"id": number, "name": "späť"} for number in range(3_000)]}


async def ended(sim: Simulation, output: Any) -> str:  # noqa: ANN401
    """An execution whose step has left this output."""
    sim.script.acts["one"] = [succeeds(output)]
    execution_id = await sim.execute("job", {"id": "one"})
    await sim.run()
    return execution_id


async def whole(sim: Simulation, execution_id: str, byte_range: str | None = None) -> bytes:
    output = await sim.app.step_outputs.read(execution_id, "one", byte_range)
    return output.content


@pytest.mark.parametrize(
    "output",
    ["", "a ✓ line\n", "x" * 40_000, "ž" * 20_000, {"a": [1, None]}, [], 7, False, LARGE],
    ids=["empty", "text", "40 KB", "two bytes each", "object", "list", "7", "false", "rows"],
)
async def test_it_comes_back_as_the_step_left_it(sim: Simulation, output: Any) -> None:  # noqa: ANN401
    execution_id = await ended(sim, output)
    read = await sim.app.step_outputs.read(execution_id, "one", None)
    assert read.is_whole
    assert read.size == len(read.content)
    if isinstance(output, str):
        assert (read.is_text, read.content.decode()) == (True, output)
        assert read.file_name == f"{execution_id}.one.1.txt"
    else:
        assert (read.is_text, json.loads(read.content)) == (False, output)
        assert read.file_name == f"{execution_id}.one.1.json"


@pytest.mark.parametrize("size", [100, 40_000, 5_000_000, 50_000_000])
async def test_whatever_its_size_it_is_kept_whole_and_its_row_small(
    sim: Simulation, size: int
) -> None:
    line = "a line of text that a step has printed ✓\n"
    text = (line * (size // len(line) + 1))[:size]
    execution_id = await ended(sim, text)
    body = await sim.read(execution_id)
    (step,) = body["steps"]
    assert body["status"] == "success"
    assert len(step["output"]) == min(size, 4_000 if size > 30_000 else size)
    if step["output_truncated"]:
        assert step["output_message"] == f"only the first 4000 of {size} characters are shown"
    read = await sim.app.step_outputs.read(execution_id, "one", None)
    assert read.content.decode() == text
    assert await whole(sim, execution_id, "bytes=-50") == text.encode()[-50:]


PARTS: tuple[tuple[str, int, int | None], ...] = (
    ("bytes=0-0", 0, 1),
    ("bytes=10-19", 10, 20),
    ("bytes=900-", 900, None),
    ("bytes=-100", -100, None),
    ("bytes=-999999", 0, None),
    ("bytes=990-99999999", 990, None),
    (" Bytes = 5 - 6 ", 5, 7),
    (f"bytes=5-{'9' * 30}", 5, None),
    (f"bytes=-{'9' * 30}", 0, None),
    ("bytes=9-5", 0, None),
    ("bytes=0-1,5-6", 0, None),
    ("lines=1-2", 0, None),
    ("nonsense", 0, None),
)


@pytest.mark.parametrize("size", [1_000, 100_000], ids=["in its row", "in a blob"])
async def test_a_range_names_a_part_and_what_is_none_is_not_followed(
    sim: Simulation, size: int
) -> None:
    text = "".join(chr(97 + number % 26) for number in range(size))
    execution_id = await ended(sim, text)
    for asked, start, end in PARTS:
        read = await sim.app.step_outputs.read(execution_id, "one", asked)
        assert read.content.decode() == text[start:end], asked
        assert (read.size, read.start) == (size, start if start >= 0 else size + start), asked
        assert read.is_whole is (len(read.content) == size), asked


@pytest.mark.parametrize("size", [0, 1_000, 100_000])
async def test_a_range_outside_of_it_is_refused_with_its_size(sim: Simulation, size: int) -> None:
    execution_id = await ended(sim, "x" * size)
    for asked in ("bytes=100000-", "bytes=-0", f"bytes={'9' * 30}-"):
        with pytest.raises(RangeNotSatisfiable) as refused:
            await whole(sim, execution_id, asked)
        assert refused.value.size == size
        assert f"has {size} bytes" in refused.value.message


async def test_the_execution_shows_the_first_part_and_where_the_whole_is(sim: Simulation) -> None:
    execution_id = await ended(sim, "line\n" * 20_000)
    step = (await sim.read(execution_id))["steps"][0]
    assert (step["output"], step["output_truncated"]) == ("line\n" * 800, True)
    assert step["output_url"] == f"/api/v2/executions/{execution_id}/steps/one/output"
    assert step["output_message"] == "only the first 4000 of 100000 characters are shown"


async def test_what_is_not_there_says_why(sim: Simulation) -> None:
    sim.script.acts["bad"], sim.script.acts["held"] = [fails()], [hold := Hold()]
    bad = await sim.execute("bad", {"id": "bad"}, {"id": "after"})
    held = await sim.execute("held", {"id": "held"})
    await sim.deliver()
    said = {}
    for execution_id, step in ((bad, "bad"), (bad, "after"), (held, "held"), (bad, "typo")):
        with pytest.raises(NotFound) as missing:
            await sim.app.step_outputs.read(execution_id, step, None)
        said[step] = (missing.value.code, missing.value.message)
    with pytest.raises(NotFound) as missing:
        await sim.app.step_outputs.read("nonsense", "one", None)
    assert missing.value.code == "execution_not_found"
    hold.release()
    await sim.run()
    assert said == {
        "bad": ("output_not_found", "step bad has ended (failed) and left no output behind"),
        "after": ("output_not_found", "step after has ended (skipped) and left no output behind"),
        "held": (
            "output_not_found",
            "step held is running: its output is there once it has succeeded",
        ),
        "typo": (
            "step_not_found",
            "the execution has no step 'typo'; its steps are: bad, after",
        ),
    }


async def test_one_whose_blob_is_gone_says_so(sim: Simulation) -> None:
    execution_id = await ended(sim, "x" * 40_000)
    await sim.storage.outputs.delete(f"job/{execution_id}/one/1.txt")
    with pytest.raises(NotFound) as missing:
        await whole(sim, execution_id)
    assert missing.value.code == "output_gone"


async def test_the_output_of_a_step_that_a_retry_took_over_is_the_first_ones(
    sim: Simulation,
) -> None:
    sim.script.acts["one"], sim.script.acts["two"] = [succeeds("x" * 40_000)], [fails()]
    first = await sim.execute("job", {"id": "one"}, {"id": "two"})
    await sim.run()
    reply = await sim.app.executions.retry(CALLER, AUTHOR, first, {}, 0)
    await sim.run()
    assert await whole(sim, reply.execution_id) == b"x" * 40_000
