"""Calls the small app through `Worker` in this process; prints a line when all went well."""

import asyncio
import sys
from pathlib import Path

from tools.devhost.errors import AppFailed, InvocationFailed
from tools.devhost.worker import Worker

HERE = Path(__file__).parent


async def main() -> None:
    """Asserts what each kind of call gives."""
    worker = await Worker.start(HERE)
    assert await Worker.start(HERE) is worker
    status, headers, _ = await worker.http("POST", "/api/echo/bob/x", {"x-test": "t"}, {"a": 1})
    assert (status, headers["x-reply"]) == (201, "yes")
    reply = await worker.http("GET", "/api/echo/bob/x?q=1")
    assert reply.json()["query"] == {"q": "1"}
    assert (await worker.http("GET", "/api/raise")).status == 500
    await worker.queue("work", "hello", dequeue_count=4)
    await worker.timer("every", past_due=True)
    try:
        await worker.queue("work", "fail")
    except InvocationFailed as error:
        assert "RuntimeError: told to fail" in str(error)
    try:
        await Worker.start(HERE.parent)
    except AppFailed as error:
        assert "one app per process" in str(error)
    sys.stdout.write("all calls answered\n")


if __name__ == "__main__":
    asyncio.run(main())
