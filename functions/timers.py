"""The two timers: the tick at each minute, upkeep thirty seconds later."""

import azure.functions as func

from functions.http import new_blueprint
from functions.loading import load_app

TICK = "0 * * * * *"
UPKEEP = "30 * * * * *"

blueprint = new_blueprint()


@blueprint.timer_trigger(arg_name="timer", schedule=TICK)
async def tick(timer: func.TimerRequest) -> None:
    """Announces what falls due."""
    await load_app().run_tick()


@blueprint.timer_trigger(arg_name="timer", schedule=UPKEEP)
async def upkeep(timer: func.TimerRequest) -> None:
    """Sends again what a crash left lying."""
    await load_app().run_upkeep()
