"""The dev host's own failures."""


class AppFailed(Exception):
    """The function app, host.json or a setting is wrong; the text says what."""


class InvocationFailed(Exception):
    """A function raised; the text is its name and the exception's type and message."""

    def __init__(self, function: str, message: str, stack: str) -> None:
        """`stack` is the traceback as text."""
        super().__init__(f"{function}: {message}")
        self.stack = stack
