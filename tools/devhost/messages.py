"""The message classes that the worker library is handed in place of its gRPC ones."""

from collections.abc import Mapping
from typing import Any


class Message:
    """A message with the fields that it was made with; any other field reads as None."""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any field, of any type
        if name.startswith("__"):
            raise AttributeError(name)
        return None


class TypedData:
    """A value in exactly one of the forms `string`, `bytes`, `json`, `http` and so on.

    Any other name is no attribute: that is how the library tells the value from its class.
    """

    def __init__(self, **form: object) -> None:
        self.__dict__.update(form)

    def WhichOneof(self, _group: str) -> str | None:
        """The form's name."""
        return next(iter(self.__dict__), None)


class ParameterBinding(Message):
    """A named input or output of an invocation."""

    def WhichOneof(self, _group: str) -> str:
        """Inputs come as plain data, never as shared memory."""
        return "data"


class BindingInfo(Message):
    """Type and direction of one binding of a function."""

    out = 1
    inout = 2
    undefined = 0


class StatusResult(Message):
    """Whether a request to the worker succeeded."""

    Failure = 0
    Success = 1


class SameSite:
    """The values of a cookie's SameSite attribute."""

    Lax = "Lax"
    Strict = "Strict"
    ExplicitNone = "None"


setattr(SameSite, "None", None)


class RpcHttpCookie(Message):
    """A cookie that a response sets."""

    SameSite = SameSite


class Protos:
    """The namespace of message classes; those not named above are plain messages."""

    TypedData = TypedData
    ParameterBinding = ParameterBinding
    BindingInfo = BindingInfo
    StatusResult = StatusResult
    RpcHttpCookie = RpcHttpCookie

    def __getattr__(self, name: str) -> type[Message]:
        return Message


def request(kind: str, properties: Mapping[str, object] | None = None, **fields: object) -> Message:
    """A request to the worker of the given kind, such as `invocation_request`."""
    return Message(properties=properties or {}, request=Message(**{kind: Message(**fields)}))
