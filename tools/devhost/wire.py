"""HTTP requests and replies in the form that crosses between host and worker."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from multidict import CIMultiDict
from yarl import URL

from tools.devhost.messages import Message, TypedData


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP reply; it unpacks to status, headers (read without case) and body."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    def __iter__(self) -> Iterator[Any]:
        return iter((self.status, self.headers, self.body))

    def json(self) -> Any:  # noqa: ANN401 - whatever the app sent
        """The body, parsed as JSON."""
        return json.loads(self.body)


def request_data(
    method: str,
    url: URL,
    headers: Iterable[tuple[str, str]],
    route_values: Mapping[str, str],
    body: bytes,
) -> TypedData:
    """The trigger's value: names in lower case, repeated values joined, empty ones left out."""
    return TypedData(
        http=Message(
            method=method.upper(),
            url=str(url),
            headers=_joined((name.lower(), value) for name, value in headers),
            query={name: value for name, value in _joined(url.query.items()).items() if value},
            params={name: value for name, value in route_values.items() if value},
            body=TypedData(bytes=body),
        )
    )


def response(value: TypedData | None) -> Response:
    """The reply for a function's return value: nothing is 204, plain text is 200."""
    if value is None:
        return Response(204, CIMultiDict(), b"")
    if value.WhichOneof("data") != "http":
        return Response(
            200, CIMultiDict({"Content-Type": "text/plain; charset=utf-8"}), _body(value)
        )
    http = vars(value)["http"]
    headers: CIMultiDict[str] = CIMultiDict(http.headers)
    for cookie in http.cookies or ():
        headers.add("Set-Cookie", _cookie(cookie))
    return Response(int(http.status_code), headers, _body(http.body))


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in pairs:
        values[name] = f"{values[name]},{value}" if name in values else value
    return values


def _body(value: TypedData | None) -> bytes:
    content = next(iter(vars(value).values()), b"") if value is not None else b""
    return content.encode() if isinstance(content, str) else bytes(content)


def _cookie(cookie: Message) -> str:
    parts = [f"{cookie.name}={cookie.value}"]
    for label, field in (("Domain", cookie.domain), ("Path", cookie.path)):
        if field is not None and field.value:
            parts.append(f"{label}={field.value}")
    if cookie.max_age is not None:
        parts.append(f"Max-Age={int(cookie.max_age.value)}")
    for label, field in (("Secure", cookie.secure), ("HttpOnly", cookie.http_only)):
        if field is not None and field.value:
            parts.append(label)
    if cookie.same_site:
        parts.append(f"SameSite={cookie.same_site}")
    return "; ".join(parts)
