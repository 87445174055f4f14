"""A function app that shows what the dev host does: its functions say in the log when they run."""

import asyncio
import json
import logging
import os
import threading

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
log = logging.getLogger("tiny")


@app.route(route="api/echo/{name:alpha}/{*rest}", methods=["GET", "POST"])
async def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Returns what the worker saw of the request."""
    seen = {
        "method": req.method,
        "url": req.url,
        "route": dict(req.route_params),
        "query": dict(req.params),
        "header": req.headers.get("X-Test"),
        "client": req.headers.get("X-Forwarded-For"),
        "body": req.get_body().decode(),
        "function": context.function_name,
        "traceparent": context.trace_context.trace_parent,
    }
    headers = {"X-Reply": "yes", "Set-Cookie": "a=b; Path=/; HttpOnly; SameSite=Lax"}
    return func.HttpResponse(json.dumps(seen), status_code=201, headers=headers)


@app.route(route="api/echo/fixed/{*rest}", methods=["GET"])
async def fixed(req: func.HttpRequest) -> str:
    """Stands beside `echo`: text in a route goes before a parameter."""
    return "fixed"


@app.route(route="api/raise", methods=["GET"])
async def fail(req: func.HttpRequest) -> func.HttpResponse:
    """Raises."""
    raise ValueError("not today")


@app.route(route="api/slow", methods=["GET"])
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    """Takes a second and a half."""
    log.info("slow begins")
    await asyncio.sleep(1.5)
    return func.HttpResponse("done")


@app.route(route="api/setting/{name}", methods=["GET"])
async def setting(req: func.HttpRequest) -> func.HttpResponse:
    """Returns the value of a setting."""
    return func.HttpResponse(os.environ.get(req.route_params["name"], ""))


@app.route(route="api/threads", methods=["GET"])
def threads(req: func.HttpRequest) -> func.HttpResponse:
    """Says whether a function without async runs beside the main thread."""
    return func.HttpResponse(str(threading.current_thread() is not threading.main_thread()))


@app.timer_trigger(arg_name="timer", schedule="%TIMER%")
async def every(timer: func.TimerRequest) -> None:
    """Outlives its own next occurrence, to show that it never runs beside itself."""
    log.info("timer begins", extra={"past_due": timer.past_due})
    await asyncio.sleep(1.2)
    log.info("timer ends")


@app.queue_trigger(
    arg_name="message", queue_name="%SCHEDULER_NAME%-work", connection="AzureWebJobsStorage"
)
async def work(message: func.QueueMessage) -> None:
    """Does as the text says: `fail`, `sleep <seconds>`, `hang once`; anything else succeeds."""
    text = message.get_body().decode()
    seen = {"text": text, "count": message.dequeue_count, "id": message.id}
    log.info("work begins", extra=seen)
    verb, _, rest = text.partition(" ")
    if verb == "fail":
        raise RuntimeError("told to fail")
    if verb == "sleep":
        await asyncio.sleep(float(rest))
    if verb == "hang" and message.dequeue_count == 1:
        await asyncio.Event().wait()
    log.info("work ends", extra=seen)
