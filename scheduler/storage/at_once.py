"""Several calls at once, of which none is left behind."""

import asyncio
from collections.abc import Awaitable, Iterable


async def at_once[T](calls: Iterable[Awaitable[T]]) -> list[T]:
    """What all the calls return; waits for all of them, also when one fails.

    Raises:
        BaseException: the first of their failures.
    """
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
