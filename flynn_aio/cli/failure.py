"""How a command ends badly: one text for the person, what to do next, and an exit code.

Flynn's client prints the text of an error without any prefix and exits with 1, whatever went wrong;
scripts depend on both. The next step is ours, and follows on a line of its own.
"""

ADD_LINE = "'flynn-aio credentials' on the server prints the line that adds it"


class Failure(Exception):
    """The command cannot go on. The text goes to standard error as it is; the exit code is 1.

    Args:
        hint: the next step: a command to type, or where to look.
    """

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class NotFound(Failure):
    """The controller knows no such thing. Some commands take it as an answer: no release yet."""

    def __init__(self, *, hint: str = "") -> None:
        super().__init__("controller: resource not found", hint=hint)


class Refused(Failure):
    """The controller understood, and says no: ``code: message``."""

    def __init__(self, code: str, message: str, *, retry: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.retry = retry


class Unreachable(Failure):
    """The request did not get through, or came back as something that is not the controller's."""


class Unauthorized(Unreachable):
    """The controller does not know the key."""


NONSENSE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What Python raises where an answer lacks what it should have, or has it in another shape."""
