"""Cuts SQL text into tokens, as far as finding parameters and statement ends needs it.

One scanner serves all databases. Strings, quoted names, dollar quotes and comments are taken whole,
so nothing inside them is mistaken for a parameter; `::` casts and `:=` are no parameters either.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a token is to the binder."""

    WORD = "word"
    MARKER = "marker"
    NAME = "name"
    SEMICOLON = "semicolon"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of SQL that is neither blank nor comment; `text[start:end]` of the query."""

    kind: Kind
    text: str
    start: int
    end: int


_BLANK = r"\s+|--[^\n]*"
_PATTERN = re.compile(
    rf"""
      (?P<blank>{_BLANK})
    | (?P<comment>/\*)
    | (?P<quoted>
          (?<!\w)[eE]'(?:[^'\\]+|\\.|'')*+'?
        | '(?:[^']+|'')*+'?
        | "(?:[^"]+|"")*+"?
        | `(?:[^`]+|``)*+`?
        | (?<![\w\])"])\[(?:[^\]]+|\]\])*+\]?
      )
    | (?P<dollar>(?<![\w$])\$(?:[^\W\d]\w*)?\$)
    | (?P<name>(?<![\w:]):[^\W\d]\w*)
    | (?P<word>[^\W\d][\w$\#@]*)
    | (?P<marker>\?)
    | (?P<semicolon>;)
    | (?P<other>::|\d[\w.]*|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def scan(text: str) -> Iterator[Token]:
    """The tokens of a query in order. Unclosed quotes and comments run to the end of the text."""
    position = 0
    while match := _PATTERN.match(text, position):
        start, position = match.span()
        match match.lastgroup:
            case "blank":
                continue
            case "comment":
                position = _comment_end(text, position)
                continue
            case "dollar":
                close = text.find(match.group(), position)
                position = len(text) if close < 0 else close + len(match.group())
                yield Token(Kind.OTHER, text[start:position], start, position)
            case "word" | "marker" | "name" | "semicolon" as kind:
                yield Token(Kind(kind), match.group(), start, position)
            case _:
                yield Token(Kind.OTHER, match.group(), start, position)


def _comment_end(text: str, position: int) -> int:
    """Where a block comment ends whose opening is before `position`; comments nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


def split(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each statement, without the semicolons between them; no empty statements.

    The body of a `CREATE TRIGGER … BEGIN …; END` belongs to its statement.
    """
    statements: list[list[Token]] = []
    current: list[Token] = []
    body = False
    for token in tokens:
        body = body or (token.kind is Kind.WORD and token.text.upper() == "BEGIN")
        if token.kind is Kind.SEMICOLON and not (body and _inside_trigger(current)):
            statements.append(current)
            current = []
            body = False
        else:
            current.append(token)
    return [statement for statement in [*statements, current] if statement]


def words(tokens: list[Token], count: int) -> list[str]:
    """The first `count` tokens in upper case; quoted names and signs as they are."""
    return [token.text.upper() for token in tokens[:count]]


def _inside_trigger(tokens: list[Token]) -> bool:
    """Whether a semicolon after these tokens, which hold a BEGIN, is part of a trigger's body."""
    head = [word for word in words(tokens, 4) if word not in {"TEMP", "TEMPORARY", "EXPLAIN"}]
    if head[:2] != ["CREATE", "TRIGGER"]:
        return False
    return not (tokens[-1].text.upper() == "END" and tokens[-2].kind is Kind.SEMICOLON)
