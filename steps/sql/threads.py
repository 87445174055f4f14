"""Runs calls that block in threads that can be given up.

A thread is made for each call: a driver that never returns then costs one thread, not a place in a
pool, and being a daemon it does not hold up the end of the process.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Lock, Thread

THREAD_NAME = "sql-step"
"""How the names of all threads begin; what a thread does comes behind it."""
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0


class Call[T]:
    """One call in a thread of its own, which is named after it."""

    def __init__(
        self, name: str, work: Callable[[], T], when_abandoned: Callable[[], object] | None = None
    ) -> None:
        self._work = work
        self._when_abandoned = when_abandoned
        self._lock = Lock()
        self._returned = False
        self._abandoned = False
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self._loop.create_future()
        _start(name, self._body)

    async def result(
        self, interrupt: Callable[[], object] | None = None, *, grace_seconds: float
    ) -> T:
        """Waits for the call.

        When cancelled, `interrupt` is called from another thread, again and again as the first may
        come too early, until the call returns. After the grace period the call is given up: its
        thread runs `when_abandoned` should it ever come back.

        Raises:
            asyncio.CancelledError: after the call has returned or was given up.
        """
        try:
            await asyncio.wait({self._future})
        except asyncio.CancelledError:
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(grace_seconds):
                        await self._stop(interrupt)
            finally:
                self._give_up()
            raise
        return self._future.result()

    @property
    def abandoned(self) -> bool:
        """Whether the call was given up before it returned."""
        return self._abandoned

    @property
    def failure(self) -> BaseException | None:
        """What the call has raised, if it has come back."""
        return self._future.exception() if self._future.done() else None

    async def _stop(self, interrupt: Callable[[], object] | None) -> None:
        pause = _FIRST_PAUSE_SECONDS
        interrupting: Thread | None = None
        while not self._future.done():
            # One that is stuck as well is not followed by others, which would pile up behind it.
            if interrupt is not None and not (interrupting and interrupting.is_alive()):
                interrupting = _start("interrupt", interrupt)
            await asyncio.wait({self._future}, timeout=pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _give_up(self) -> None:
        with self._lock:
            self._abandoned = not self._returned

    def _body(self) -> None:
        try:
            value = self._work()
        except BaseException as error:
            self._end(partial(_fail, error=error))
        else:
            self._end(partial(_succeed, value=value))

    def _end(self, settle: Callable[[asyncio.Future[T]], None]) -> None:
        with self._lock:
            self._returned = True
            abandoned = self._abandoned
        if abandoned:
            if self._when_abandoned is not None:
                self._when_abandoned()
            return
        # The loop is closed when the process ends while a call is still out.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, settle)

    def _settle(self, settle: Callable[[asyncio.Future[T]], None]) -> None:
        settle(self._future)
        # Whoever was cancelled does not ask for the outcome; it is not "never retrieved".
        self._future.exception()


def _succeed[T](future: asyncio.Future[T], value: T) -> None:
    future.set_result(value)


def _fail[T](future: asyncio.Future[T], error: BaseException) -> None:
    future.set_exception(error)


def _start(name: str, work: Callable[[], object]) -> Thread:
    thread = Thread(target=work, name=f"{THREAD_NAME}-{name}", daemon=True)
    thread.start()
    return thread
