"""A step type as a plug-in brings it: notes a text, or fails as it is told."""

from typing import ClassVar

from steps.contract import StepConfig, StepContext, StepFailed, StepResult, StepType


class NoteConfig(StepConfig):
    """What to note; with `fails` the attempts up to that number fail."""

    TEMPLATED: ClassVar[frozenset[str]] = frozenset({"text"})

    text: str
    fails: int = 0


class NoteStep(StepType):
    """Gives its text back."""

    type = "note"
    title = "Note"
    description = "Gives its text back"
    Config = NoteConfig

    async def run(self, config: NoteConfig, context: StepContext) -> StepResult:
        """The text as output.

        Raises:
            StepFailed: in the first `fails` attempts.
        """
        if context.attempt <= config.fails:
            raise StepFailed("note_refused", f"attempt {context.attempt} was told to fail")
        return StepResult(output={"text": config.text}, metadata={"length": len(config.text)})
