"""Keeps what a connection string must not tell out of messages."""

import re

_FIELD = re.compile(r"\s*([^=;{}]+?)\s*=\s*(\{(?:[^}]|\}\})*\}?|[^;]*)\s*(?:;|$)")
_SECRET = re.compile(r"pwd|pass|secret|token|key|^uid$|user", re.IGNORECASE)
_ECHO = re.compile(
    r"\b((?:pwd|password|passwd|uid|user|user id|username)\s*=\s*)(?:\{(?:[^}]|\}\})*\}|[^;\s]*)",
    re.IGNORECASE,
)
_MASK = "***"
_WHOLE_WORD_BELOW = 4


def fields(connection_string: str) -> dict[str, str]:
    """The fields of an ODBC connection string by lower-case key, braces around values removed."""
    found: dict[str, str] = {}
    for match in _FIELD.finditer(connection_string):
        value = match[2].strip()
        if value.startswith("{"):
            value = value[1:].removesuffix("}").replace("}}", "}")
        found.setdefault(match[1].lower(), value)
    return found


class Redaction:
    """Masks the names, passwords and tokens of one connection string in any text."""

    def __init__(self, connection_string: str) -> None:
        values = {
            form
            for key, value in fields(connection_string).items()
            if value and _SECRET.search(key)
            for form in (value, value.replace("}", "}}"))
        }
        texts = [connection_string.strip(), *sorted(values, key=len, reverse=True)]
        self._patterns = [_pattern(text) for text in texts if text]

    def __call__(self, text: str) -> str:
        """The text with every secret value replaced by `***`."""
        for pattern in self._patterns:
            text = pattern.sub(_MASK, text)
        return _ECHO.sub(rf"\1{_MASK}", text)


def _pattern(secret: str) -> re.Pattern[str]:
    # A short name such as "sa" is part of many words; there only the whole word is masked.
    escaped = re.escape(secret)
    if len(secret) < _WHOLE_WORD_BELOW:
        escaped = rf"(?<!\w){escaped}(?!\w)"
    return re.compile(escaped, re.IGNORECASE)
