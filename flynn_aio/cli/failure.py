"""How a command ends badly: one text for the person, and an exit code.

Flynn's client prints the text of an error without any prefix and exits with 1, whatever went wrong;
scripts depend on both.
"""


class Failure(Exception):
    """The command cannot go on. The text goes to standard error as it is; the exit code is 1."""


class NotFound(Failure):
    """The controller knows no such thing. Some commands take it as an answer: no release yet."""

    def __init__(self) -> None:
        super().__init__("controller: resource not found")
