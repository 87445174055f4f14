"""From a query and its parameters to what the driver is given: text with `?`, values in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steps.sql.lexer import Kind, Token, scan, split, words

type Scalar = str | int | float | bool | None
type Parameters = Sequence[Scalar] | Mapping[str, Scalar] | None

_BEGINS = {"TRAN", "TRANSACTION", "WORK", "DEFERRED", "IMMEDIATE", "EXCLUSIVE", "DISTRIBUTED"}
_BEGINS |= {"ISOLATION", "READ"}


class ParametersMismatch(ValueError):
    """The query's placeholders and the given parameters do not fit; the message says how."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One call of the driver."""

    text: str
    values: tuple[Scalar, ...] = ()


def prepare(query: str, parameters: Parameters, *, one_by_one: bool) -> list[Statement]:
    """The calls that run a query.

    Args:
        query: the author's text, one or more statements.
        parameters: a list for `?`, an object for `:name`, or None for a query without either. With
            a list `:name` is left as it is.
        one_by_one: a call for each statement, for drivers that take only one at a time.

    Raises:
        ParametersMismatch: a placeholder has no value, or a value no placeholder.
    """
    tokens = list(scan(query))
    check(tokens, parameters)
    placeholder = Kind.NAME if isinstance(parameters, Mapping) else Kind.MARKER
    left = 0
    calls: list[Statement] = []
    for part in split(tokens) if one_by_one else [tokens]:
        places = [token for token in part if token.kind is placeholder]
        if isinstance(parameters, Mapping):
            values = tuple(parameters[token.text[1:]] for token in places)
        else:
            values = tuple((parameters or ())[left : left + len(places)])
            left += len(places)
        start, end = (part[0].start, part[-1].end) if one_by_one else (0, len(query))
        calls.append(Statement(_with_markers(query, start, end, places), values))
    return calls


def check(tokens: list[Token], parameters: Parameters) -> None:
    """Compares placeholders and parameters.

    Raises:
        ParametersMismatch: naming what is missing or too many.
    """
    markers = sum(token.kind is Kind.MARKER for token in tokens)
    names = list(dict.fromkeys(token.text[1:] for token in tokens if token.kind is Kind.NAME))
    if isinstance(parameters, Mapping):
        _check_names(names, markers, parameters)
    elif parameters is None and names:
        raise ParametersMismatch(
            f"the query has :{names[0]}, and there are no parameters: give an object with a value "
            "for each name, or an empty list when this colon is no placeholder"
        )
    elif markers != len(parameters or ()):
        raise ParametersMismatch(
            f"the query has {markers} ? and there are {len(parameters or ())} parameters: "
            "give a list with one value for each ?"
        )


def _check_names(names: list[str], markers: int, parameters: Mapping[str, Scalar]) -> None:
    if markers:
        raise ParametersMismatch(
            "the query has ?, and parameters is an object: write :name, or give a list"
        )
    missing = [name for name in names if name not in parameters]
    if missing:
        raise ParametersMismatch(f"no value is given for :{', :'.join(missing)}")
    unused = [name for name in parameters if name not in names]
    if unused:
        raise ParametersMismatch(
            f"the query has no :{', :'.join(unused)}: use it, or leave the value out"
        )


def _with_markers(query: str, start: int, end: int, places: list[Token]) -> str:
    pieces: list[str] = []
    for token in places:
        pieces += [query[start : token.start], "?"]
        start = token.end
    return "".join([*pieces, query[start:end]])


def own_transaction(query: str) -> str | None:
    """The first words with which a query begins or ends a transaction by itself, if it does."""
    for statement in split(list(scan(query))):
        first, second = [*words(statement, 2), ""][:2]
        if first == "COMMIT" or (first, second) == ("START", "TRANSACTION"):
            return first
        if first == "ROLLBACK" and "TO" not in words(statement, 3):
            return first
        if first == "BEGIN" and (second in _BEGINS or second == ""):
            return f"{first} {second}".strip()
    return None
