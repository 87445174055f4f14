"""The Functions app: registers the triggers of `functions/`; see docs/architecture.md."""

import azure.functions as func

from functions import (
    control,
    executions,
    fallback,
    health,
    jobs,
    keys,
    queues,
    schedules,
    status,
    steps,
    timers,
)

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for module in (
    control,
    executions,
    fallback,
    health,
    jobs,
    keys,
    queues,
    schedules,
    status,
    steps,
    timers,
):
    app.register_functions(module.blueprint)
