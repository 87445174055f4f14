"""Keeps secrets out of outputs, errors and logs: known values, and what stands behind a keyword."""

import json
import logging
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from scheduler.settings import Settings

MASK = "***"
_STANDARD = frozenset(vars(logging.makeLogRecord({})))
SHORTEST = 4
"""Shorter secret values are masked behind their keyword only: they occur in ordinary text."""

_BRACED = r"\{(?:[^}]|\}\})*\}"
_PASSWORD = re.compile(rf"(?:^|[;\s])(?:pwd|password)\s*=\s*({_BRACED}|[^;]*)", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"\b(pwd|password|accountkey|sharedaccesssignature|sharedaccesskey)(\s*=\s*)"
    rf"({_BRACED}|[^;\"'\s]+)",
    re.IGNORECASE,
)
_API_KEY = re.compile(r"\bjsk_([a-z0-9]{8})_[A-Za-z0-9_-]{20,}")
_STORAGE_KEY = re.compile(r"(?:AccountKey|SharedAccessSignature)=([^;]+)", re.IGNORECASE)


class Redactor:
    """Replaces known secret values, API keys and `Password=…` by `***`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST for form in _forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    @classmethod
    def of(cls, settings: Settings) -> "Redactor":
        """One that knows the secrets of the app's settings."""
        return cls(_secrets(settings))

    def text(self, text: str) -> str:
        """The text without its secrets."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        text = _ASSIGNED.sub(rf"\1\2{MASK}", text)
        return _API_KEY.sub(rf"jsk_\1_{MASK}", text)

    def json(self, value: Any) -> Any:  # noqa: ANN401
        """A JSON value of the same shape without secrets in its texts and names."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(name)): self.json(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.json(item) for item in value]
        return value


class RedactingFilter(logging.Filter):
    """Redacts message, trace and extra fields of each record; belongs on the handlers."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Redacts in place; lets every record through."""
        record.msg, record.args = self._redactor.text(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._redactor.text(record.exc_text)
        for name in record.__dict__.keys() - _STANDARD:
            record.__dict__[name] = self._redactor.json(record.__dict__[name])
        return True


def passwords(connection_string: str) -> list[str]:
    """The password values of an ODBC connection string, braces taken off."""
    values = (match[1].strip() for match in _PASSWORD.finditer(connection_string))
    return [_unbraced(value) for value in values if value]


def _unbraced(value: str) -> str:
    return value[1:-1].replace("}}", "}") if value.startswith("{") else value


def _forms(secret: str) -> set[str]:
    escaped = json.dumps(secret)[1:-1]
    return {secret, escaped, quote(secret, safe=""), secret.replace("}", "}}")}


def _secrets(settings: Settings) -> list[str]:
    storage = settings.storage_connection_string or ""
    return [
        *filter(None, (settings.admin_key, settings.key_pepper)),
        *settings.encryption_keys,
        *(match[1] for match in _STORAGE_KEY.finditer(storage)),
        *(word for text in settings.connections.values() for word in passwords(text)),
    ]
