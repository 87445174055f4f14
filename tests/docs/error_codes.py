"""Every stable error code, read from the source: what `docs/errors.md` has to tell."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from scheduler import errors
from scheduler.api.problems import status_of
from tools.process import ROOT

FOLDERS = ("scheduler", "steps", "functions")
FAULT_CALLS = {
    "FieldError": 1,
    "of": 1,
    "add": 1,
    "ScheduleError": 1,
    "TemplateError": 0,
    "_fail": 0,
    "_malformed": 1,
}
"""Calls that note a fault in a field, and the place of the code among their arguments."""
CLASSES: dict[str, type[errors.SchedulerError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.SchedulerError)
}
STATUS_BY_CLASS = {name: status_of(kind.__new__(kind)) for name, kind in CLASSES.items()}
_CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Codes:
    """`replies`: code → HTTP status; `faults`: of single fields; `steps`: of failed attempts;
    `warnings`: about jobs and schedules that are accepted."""

    replies: dict[str, int] = field(default_factory=dict)
    faults: set[str] = field(default_factory=set)
    steps: set[str] = field(default_factory=set)
    warnings: set[str] = field(default_factory=set)


def codes_in_source() -> Codes:
    """Reads all modules of the product."""
    codes = Codes()
    codes.replies.update({kind.code: STATUS_BY_CLASS[name] for name, kind in CLASSES.items()})
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                _note(node, codes)
    return codes


def _note(node: ast.AST, codes: Codes) -> None:
    match node:
        case ast.Call():
            _note_call(node, codes)
        case ast.Assign(targets=[ast.Name(id="_CODES")], value=ast.Dict(values=values)):
            codes.faults.update(code for value in values for code in _texts(value))
        case ast.FunctionDef(name="_code"):
            returns = [child for child in ast.walk(node) if isinstance(child, ast.Return)]
            codes.faults.update(code for child in returns for code in _texts(child))
        case ast.FunctionDef(args=ast.arguments(args=args, defaults=defaults)):
            pairs = zip(reversed(args), reversed(defaults), strict=False)
            given = [default for arg, default in pairs if arg.arg == "code"]
            codes.faults.update(code for default in given for code in _texts(default))
        case _:
            pass


def _note_call(call: ast.Call, codes: Codes) -> None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    place = FAULT_CALLS.get(name)
    if place is not None and len(call.args) > place:
        codes.faults.update(_texts(call.args[place]))
    if name == "Notice":
        codes.warnings.update(_texts(call.args[1]))
    if name == "StepFailed":
        codes.steps.update(_texts(call.args[0]))
    status = STATUS_BY_CLASS.get(name)
    for keyword in call.keywords:
        if keyword.arg == "code" and status is not None:
            codes.replies.update(dict.fromkeys(_texts(keyword.value), status))
        elif keyword.arg == "error_code":
            codes.steps.update(_texts(keyword.value))


def _texts(node: ast.AST | None) -> Iterator[str]:
    """The codes that an expression may come to: it is one, or chooses between two."""
    match node:
        case ast.Constant(value=str(text)) if _CODE.fullmatch(text):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body)
            yield from _texts(orelse)
        case ast.Return(value=value):
            yield from _texts(value)
        case _:
            pass
