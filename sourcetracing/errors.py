"""The one exception that a user's mistake raises.

A script's door (`sourcetracing.runtime.cli.run_script`) prints a `UserError` as one line and exits with 2; every other exception is a
bug of ours and keeps its traceback.
"""


class UserError(ValueError):
    """A mistake the user can mend. The message names the thing and, where there is one, the next command.

    It is one line, whatever the names in it hold: line breaks and what no terminal shows are written as escapes.
    """

    def __str__(self) -> str:
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in super().__str__())
