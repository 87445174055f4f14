"""The one error of the example."""


class Failed(Exception):
    """Something did not go as it should; the text is the plain reason."""
