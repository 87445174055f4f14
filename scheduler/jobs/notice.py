"""What callers are told about a job that is accepted all the same."""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class Notice:
    """One warning: a JSON pointer to the field, a stable code (`docs/errors.md`), one sentence."""

    pointer: str
    code: str
    message: str

    def under(self, prefix: str) -> Self:
        """The same, in a value that stands at the JSON pointer `prefix`."""
        return replace(self, pointer=prefix + self.pointer)

    def document(self) -> dict[str, str]:
        """As replies show it."""
        return {"pointer": self.pointer, "code": self.code, "message": self.message}
