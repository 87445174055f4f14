"""Microsoft's Python worker library, in this process: loads a function app, invokes functions.

worker = await Worker.start(app_dir)
status, headers, body = await worker.http("POST", "/api/v2/jobs", body={"name": "Close"})
await worker.queue("zone_utc", message_text, dequeue_count=2)
await worker.timer("tick")
"""

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar
from uuid import uuid4

import azure_functions_runtime as runtime
from multidict import CIMultiDict
from yarl import URL

from tools.devhost.errors import AppFailed, InvocationFailed
from tools.devhost.hostfile import HostFile, resolved
from tools.devhost.messages import Message, ParameterBinding, Protos, TypedData, request
from tools.devhost.routes import Router, parse_route
from tools.devhost.wire import Response, request_data, response

log = logging.getLogger("devhost.worker")


@dataclass(frozen=True, slots=True)
class Function:
    """An indexed function with its trigger's binding, as the app declares it."""

    id: str
    name: str
    trigger: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The trigger's type: `httpTrigger`, `timerTrigger`, `queueTrigger`."""
        return str(self.trigger["type"])


class Worker:
    """A loaded function app. The library keeps its state in modules: one app per process.

    Async functions run on the event loop that awaits the call.
    """

    _started: ClassVar["Worker | None"] = None

    def __init__(self, app_dir: Path, functions: Mapping[str, Function]) -> None:
        """For `start` alone."""
        self.app_dir = app_dir
        self.functions = functions
        self.host_file = HostFile.read(app_dir)
        prefix = self.host_file.route_prefix
        self.router = Router(
            parse_route(
                f"{prefix}/{resolved(str(function.trigger.get('route') or function.name))}",
                function.trigger.get("methods") or (),
                function,
            )
            for function in functions.values()
            if function.kind == "httpTrigger"
        )

    @classmethod
    async def start(cls, app_dir: Path) -> "Worker":
        """Loads `app_dir`/function_app.py; a second call gives the same worker.

        Raises:
            AppFailed: when the app does not import or index, or another one is loaded.
        """
        app_dir = app_dir.resolve()
        if cls._started is None:
            cls._started = cls(app_dir, await _load(app_dir))
        if cls._started.app_dir != app_dir:
            raise AppFailed(f"this process has loaded {cls._started.app_dir}; one app per process")
        return cls._started

    async def http(
        self,
        method: str,
        url: str | URL,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes | str | Mapping[str, Any] | list[Any] = b"",
    ) -> Response:
        """Sends a request through the app's routes; a mapping or list goes as JSON.

        No fitting route and method is an empty 404, a function that raises a logged, empty 500.
        """
        sent = CIMultiDict(headers)
        if isinstance(body, Mapping | list):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        target = URL(url)
        if not target.absolute:
            target = URL("http://127.0.0.1").join(target)
        found = self.router.find(method, target.raw_path)
        if found is None:
            return Response(404, CIMultiDict(), b"")
        function, values = found
        content = body.encode() if isinstance(body, str) else body
        data = request_data(method, target, sent.items(), values, content)
        try:
            return response(await self.invoke(function, data, traceparent=sent.get("traceparent")))
        except InvocationFailed as error:
            log.error("%s\n%s", error, error.stack, extra={"function": function.name})
            return Response(500, CIMultiDict(), b"")

    async def queue(
        self,
        function: str,
        text: str,
        dequeue_count: int = 1,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Hands a queue-triggered function one message, its text decoded.

        Raises:
            InvocationFailed: when the function raises.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        fields = {
            "Id": str(uuid4()),
            "DequeueCount": str(dequeue_count),
            "PopReceipt": token_hex(8),
            "InsertionTime": now,
            "ExpirationTime": now,
            "NextVisibleTime": now,
            **(metadata or {}),
        }
        await self.invoke(self.functions[function], TypedData(string=text), fields)

    async def timer(self, function: str, *, past_due: bool = False) -> None:
        """Lets a timer-triggered function run once; raises InvocationFailed when it raises."""
        info = json.dumps({"IsPastDue": past_due, "ScheduleStatus": {}, "Schedule": {}})
        await self.invoke(self.functions[function], TypedData(json=info))

    async def invoke(
        self,
        function: Function,
        data: TypedData,
        metadata: Mapping[str, str] | None = None,
        traceparent: str | None = None,
    ) -> TypedData | None:
        """Invokes a function with its trigger's value and returns what the function returned.

        Raises:
            InvocationFailed: when the function, or the conversion of its data, raises.
        """
        trace = traceparent or f"00-{token_hex(16)}-{token_hex(8)}-01"
        invocation = request(
            "invocation_request",
            invocation_id=str(uuid4()),
            function_id=function.id,
            input_data=[ParameterBinding(name=function.trigger["name"], data=data)],
            trigger_metadata={
                key: TypedData(string=text) for key, text in (metadata or {}).items()
            },
            trace_context=Message(trace_parent=trace, trace_state="", attributes={}),
            retry_context=Message(retry_count=0, max_retry_count=0),
        )
        reply = await runtime.invocation_request(invocation)
        if reply.result.status != Protos.StatusResult.Success:
            fault = reply.result.exception
            raise InvocationFailed(function.name, fault.message, fault.stack_trace or "")
        value: TypedData | None = reply.return_value
        return value


async def _load(app_dir: Path) -> dict[str, Function]:
    if not (app_dir / "function_app.py").is_file():
        raise AppFailed(f"there is no function_app.py in {app_dir}")
    sys.path.insert(0, str(app_dir))
    runtime.start_threadpool_executor()
    start = request(
        "worker_init_request",
        {"protos": Protos(), "host": "127.0.0.1"},
        capabilities={},
        function_app_directory=str(app_dir),
    )
    reply = await runtime.worker_init_request(start)
    if reply.result.status != Protos.StatusResult.Success:
        fault = reply.result.exception
        raise AppFailed(f"{fault.message}\n{fault.stack_trace}".rstrip())
    indexed = await runtime.functions_metadata_request(request("functions_metadata_request"))
    functions = [_function(item) for item in indexed.function_metadata_results or ()]
    for function in functions:
        load = request("function_load_request", function_id=function.id)
        await runtime.function_load_request(load)
    return {function.name: function for function in functions}


def _function(metadata: Message) -> Function:
    bindings = [json.loads(raw) for raw in metadata.raw_bindings]
    triggers = [one for one in bindings if one["type"].endswith("Trigger")]
    if len(triggers) != 1:
        raise AppFailed(f"the function {metadata.name} needs exactly one trigger")
    return Function(metadata.function_id, metadata.name, triggers[0])
