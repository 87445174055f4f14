"""Log lines of the dev host: `time level logger message key=value …`."""

import json
import logging
import sys
from datetime import UTC, datetime

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
QUIET = ("azure", "aiohttp", "asyncio", "urllib3")


class KeyValueFormatter(logging.Formatter):
    """One sentence, then the record's extra keys; text with spaces is quoted."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line; a traceback follows on lines of its own."""
        instant = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        first, newline, rest = record.getMessage().partition("\n")
        parts = [instant.replace("+00:00", "Z"), record.levelname, record.name, first]
        extra = {key: value for key, value in vars(record).items() if key not in STANDARD}
        parts += [f"{key}={_text(value)}" for key, value in extra.items()]
        line = " ".join(parts) + newline + rest
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(level: str) -> None:
    """Sends all log records of at least `level` to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if text and not any(c in text for c in ' "=\n') else json.dumps(text)
