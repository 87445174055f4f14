"""What an endpoint is, what its handler is told, and what it answers."""

import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from scheduler.errors import Misconfigured, NotAuthenticated
from scheduler.security.principals import Caller, Principal, Role

if TYPE_CHECKING:
    from scheduler.api.idempotency import Once
    from scheduler.app import App

ANY_QUERY = ("*",)
"""For an endpoint whose query is not looked at."""
REPLAYED = {"Idempotent-Replayed": "true"}
"""The header of a reply about what the same call had done before."""


class Body(StrEnum):
    """Whether an endpoint reads the request's body; an optional one that is empty is `{}`."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a handler is told. `principal` is None on open endpoints only.

    `once` is what makes the call the same as an earlier one; None without an `Idempotency-Key`,
    and on endpoints that do not read it.
    """

    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    url: str
    body: dict[str, Any]
    once: "Once | None" = None

    @property
    def principal(self) -> Principal:
        """The authenticated caller.

        Raises:
            NotAuthenticated: the endpoint is an open one.
        """
        if self.caller.principal is None:
            raise NotAuthenticated("this endpoint does not authenticate its callers")
        return self.caller.principal


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers; `success: true` is put into its body. Instants become ISO 8601.

    A 304 has no body, whatever is given. `content` is sent as it is in the place of the body, and
    is of the type that the header Content-Type says.
    """

    body: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None


type Handler = Callable[["App", Request], Awaitable[Reply]]
type WithoutApp = Callable[[Misconfigured], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint, as OpenAPI is to tell it; `name` is also the `action` of its log lines.

    An `idempotent` one reads the header `Idempotency-Key`.
    `without_app` answers in place of the handler when a wrong setting keeps the app from being
    built; where it is None the reply is a problem that names the setting.
    """

    name: str
    method: str
    route: str
    role: Role | None
    body: Body
    query: tuple[str, ...]
    status: int
    summary: str
    model: str | None
    idempotent: bool = False
    without_app: WithoutApp | None = None

    def body_model(self) -> Any:  # noqa: ANN401
        """The pydantic model of the body, or None; loads the module that `model` names."""
        return None if self.model is None else pkgutil.resolve_name(self.model)
