"""The queue triggers: one for each declared zone, and the relay for all others."""

import os
from collections.abc import Awaitable, Callable

import azure.functions as func

from functions.http import new_blueprint
from functions.loading import load_app
from scheduler.declared_zones import declared_zones
from scheduler.dispatch.queue_names import function_name, queue_name, relay_queue_name

CONNECTION = "AzureWebJobsStorage"
NAME = "%SCHEDULER_NAME%"

blueprint = new_blueprint()


def _text(message: func.QueueMessage) -> str:
    return message.get_body().decode("utf-8", "replace")


def _zone_handler(timezone: str) -> Callable[[func.QueueMessage], Awaitable[None]]:
    async def handle(message: func.QueueMessage) -> None:
        app = load_app()
        queue = app.dispatcher.queue_of(timezone)
        await app.engine.handle(queue, _text(message), message.dequeue_count or 1)

    handle.__name__ = handle.__qualname__ = function_name(timezone)
    return handle


for zone in declared_zones(os.environ):
    blueprint.queue_trigger(
        arg_name="message", queue_name=queue_name(NAME, zone), connection=CONNECTION
    )(_zone_handler(zone))


@blueprint.queue_trigger(
    arg_name="message", queue_name=relay_queue_name(NAME), connection=CONNECTION
)
async def relay(message: func.QueueMessage) -> None:
    """Looks at the queue of a zone that has no trigger."""
    await load_app().relay.handle(_text(message))
