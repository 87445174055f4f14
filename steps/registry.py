"""Finds the step types: the built-in ones and those that installed packages bring.

Both come through the same door, an entry point `name = "module:Class"`. A package declares its own
in the group `job_scheduler.steps`; the app itself is run from its folder and is not installed, so
its types are listed in `BUILT_IN` and read in the same way. Nothing is imported before it is asked
for, and a type that cannot be loaded is kept with its reason and leaves the others alone.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Self

from steps.contract import StepConfig, StepType

GROUP = "job_scheduler.steps"
BUILT_IN: Mapping[str, str] = {"sql": "steps.sql:SqlStep"}

_log = logging.getLogger(__name__)


class StepTypeNotFound(KeyError):
    """No usable step type has this name; `message` says why, and names the nearest ones."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(type)
        self.type = type
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class StepTypeInfo:
    """What users are shown of a step type; `schema` is the JSON schema of its configuration."""

    type: str
    title: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    available: bool = True
    unavailable_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry point that is not used, and why."""

    type: str
    source: str
    reason: str


class Registry:
    """The step types of this process, by name; each is loaded once, when first asked for."""

    def __init__(self, sources: Iterable[EntryPoint]) -> None:
        self._sources: dict[str, EntryPoint] = {}
        self._loaded: dict[str, StepType] = {}
        self._schemas: dict[str, Mapping[str, Any]] = {}
        self._rejected: list[Rejected] = []
        self._broken: dict[str, str] = {}
        for source in sources:
            taken = self._sources.setdefault(source.name, source)
            if taken is not source:
                self._reject(source, f"the name is already taken by {_origin(taken)}")

    @classmethod
    def discover(cls) -> Self:
        """The built-in types, then those of installed packages in the order of their names."""
        built_in = [EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items()]
        installed = sorted(entry_points(group=GROUP), key=lambda one: (one.name, _origin(one)))
        return cls([*built_in, *installed])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all step types, sorted; imports nothing."""
        return tuple(sorted(self._sources))

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """Entry points not used: the second of a name, and those that failed to load so far."""
        return tuple(self._rejected)

    def get(self, type: str) -> StepType:
        """The step type of this name, which may still be unavailable on this machine.

        Raises:
            StepTypeNotFound: a `KeyError`: the name is unknown, or its class cannot be loaded.
        """
        if type not in self._loaded:
            self._load(type)
        return self._loaded[type]

    def types(self) -> list[StepTypeInfo]:
        """Every step type, sorted by name, also those that cannot be loaded; loads all."""
        return [self._info(name) for name in self.names]

    async def close(self) -> None:
        """Closes every loaded type; one that fails is logged and does not stop the others."""
        while self._loaded:
            name, step_type = self._loaded.popitem()
            try:
                await step_type.close()
            except Exception:
                _log.exception("a step type failed to close", extra={"step_type": name})

    def _load(self, name: str) -> None:
        source = self._sources.get(name)
        if source is None:
            raise StepTypeNotFound(name, _unknown(name, self.names))
        if name not in self._broken:
            try:
                step_type, schema = _make(source)
            except Exception as error:
                self._broken[name] = f"{type(error).__name__}: {error}"
                self._reject(source, self._broken[name])
            else:
                self._loaded[name], self._schemas[name] = step_type, schema
                return
        raise StepTypeNotFound(
            name, f"the step type {name!r} cannot be loaded: {self._broken[name]}"
        )

    def _info(self, name: str) -> StepTypeInfo:
        try:
            step_type = self.get(name)
        except StepTypeNotFound as error:
            return StepTypeInfo(name, name, "", available=False, unavailable_reason=error.message)
        reason = _unavailable_reason(step_type)
        return StepTypeInfo(
            type=name,
            title=step_type.title,
            description=step_type.description,
            schema=self._schemas[name],
            capabilities=tuple(sorted(step_type.capabilities)),
            available=reason is None,
            unavailable_reason=reason,
        )

    def _reject(self, source: EntryPoint, reason: str) -> None:
        self._rejected.append(Rejected(source.name, _origin(source), reason))
        _log.warning(
            "a step type is not used: %s",
            reason,
            extra={
                "action": "reject_step_type",
                "step_type": source.name,
                "source": _origin(source),
            },
        )


def _make(source: EntryPoint) -> tuple[StepType, Mapping[str, Any]]:
    """Imports the class and checks what the contract asks of it."""
    step_class = source.load()
    if not (isinstance(step_class, type) and issubclass(step_class, StepType)):
        raise TypeError(f"{source.value} is not a subclass of steps.contract.StepType")
    for name in ("type", "title", "description"):
        if not isinstance(getattr(step_class, name, None), str):
            raise TypeError(f"{source.value} has no text in its attribute {name!r}")
    if step_class.type != source.name:
        raise TypeError(f"{source.value} is of type {step_class.type!r}, not {source.name!r}")
    config = getattr(step_class, "Config", None)
    if not (isinstance(config, type) and issubclass(config, StepConfig)):
        raise TypeError(f"{source.value}.Config is not a subclass of steps.contract.StepConfig")
    unknown = sorted(config.TEMPLATED - config.model_fields.keys())
    if unknown:
        raise TypeError(f"{source.value}.Config.TEMPLATED names no field: {', '.join(unknown)}")
    return step_class(), config.model_json_schema()


def _unavailable_reason(step_type: StepType) -> str | None:
    try:
        return step_type.unavailable_reason()
    except Exception as error:
        return f"its check failed with {type(error).__name__}: {error}"


def _origin(source: EntryPoint) -> str:
    owner = f" of {source.dist.name} {source.dist.version}" if source.dist else ""
    return f"{source.value}{owner}"


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the known ones are {', '.join(known)}"
    return f"there is no step type {name!r}; {hint}"
