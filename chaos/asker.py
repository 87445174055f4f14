"""Stores the jobs, asks for runs and cancels some: a client of whichever host answers."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from chaos.jobs import ChaosJob
from chaos.plan import Ask

_TIMEOUT = ClientTimeout(total=20)
_PATIENCE_SECONDS = 180.0
_PAUSE_SECONDS = 0.5
_STORED_AT_ONCE = 6


@dataclass(slots=True)
class Asked:
    """What came of an ask: the execution that was promised, and how often it took to ask.

    `cancelled`: the status of the reply to the wish to cancel it; None when there was none.
    """

    ask: Ask
    execution_id: str | None = None
    tries: int = 0
    cancelled: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that came: status, and its JSON object."""

    status: int
    body: dict[str, Any]


class NoAnswer(Exception):
    """No host gave an answer in time."""


class Asker:
    """Calls the API of any host that is there; `urls` tells which are."""

    def __init__(self, urls: Callable[[], Sequence[str]], admin_key: str, seed: int) -> None:
        self._urls = urls
        self._headers = {"X-API-Key": admin_key}
        self._random = Random(seed)
        self.asked: list[Asked] = []

    async def store(self, jobs: Sequence[ChaosJob]) -> None:
        """Stores the jobs.

        Raises:
            NoAnswer: one is refused, or nobody answers.
        """
        gate = asyncio.Semaphore(_STORED_AT_ONCE)
        async with self._session() as session:

            async def store(job: ChaosJob) -> None:
                async with gate:
                    reply = await self._call(session, "POST", "/api/v2/jobs", body=dict(job.body))
                if reply.status not in (201, 409):
                    raise NoAnswer(f"the job {job.job_id} is refused: {reply.body}")

            await asyncio.gather(*map(store, jobs))

    async def is_idempotent(self, job_id: str) -> bool:
        """Whether a run that is asked for twice with one key is the same run."""
        ask = Ask(at=0, job_id=job_id, key="ask-twice")
        asked = [Asked(ask), Asked(ask)]
        async with self._session() as session:
            for one in asked:
                await self._run(session, one)
                self.asked.append(one)
        if asked[0].execution_id != asked[1].execution_id:
            return False
        self.asked.pop()
        return True

    async def ask(self, asks: Sequence[Ask], began: float) -> None:
        """Asks for every run at its time from `began` (`time.monotonic`)."""
        async with self._session() as session, asyncio.TaskGroup() as group:
            for ask in sorted(asks, key=lambda one: one.at):
                await asyncio.sleep(max(0, began + ask.at - monotonic()))
                asked = Asked(ask)
                self.asked.append(asked)
                group.create_task(self._run(session, asked))

    def _session(self) -> ClientSession:
        return ClientSession(headers=self._headers, timeout=_TIMEOUT, trust_env=False)

    async def _run(self, session: ClientSession, asked: Asked) -> None:
        path = f"/api/v2/jobs/{asked.ask.job_id}/run"
        try:
            reply = await self._call(session, "POST", path, key=asked.ask.key, asked=asked)
        except NoAnswer:
            return
        asked.execution_id = reply.body.get("execution_id")
        if asked.ask.cancel_after is not None and asked.execution_id is not None:
            await asyncio.sleep(asked.ask.cancel_after)
            path = f"/api/v2/executions/{asked.execution_id}/cancel"
            try:
                asked.cancelled = (await self._call(session, "POST", path)).status
            except NoAnswer:
                return

    async def _call(
        self,
        session: ClientSession,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        key: str | None = None,
        asked: Asked | None = None,
    ) -> Reply:
        headers = {"Idempotency-Key": key} if key else {}
        until = monotonic() + _PATIENCE_SECONDS
        while monotonic() < until:
            reply = await self._once(session, method, path, body, headers, asked)
            if reply is not None and reply.status < 500 and reply.status != 429:
                return reply
            await asyncio.sleep(_PAUSE_SECONDS)
        raise NoAnswer(f"{method} {path}: no answer within {_PATIENCE_SECONDS:g} s")

    async def _once(
        self,
        session: ClientSession,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        headers: dict[str, str],
        asked: Asked | None,
    ) -> Reply | None:
        urls = self._urls()
        if not urls:
            return None
        if asked is not None:
            asked.tries += 1
        url = self._random.choice(urls) + path
        try:
            async with session.request(method, url, json=body, headers=headers) as reply:
                text = await reply.text()
        except (ClientError, TimeoutError):
            return None
        return Reply(reply.status, _object(text))


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {"text": text}
    return content if isinstance(content, dict) else {"value": content}
