"""The one exception that a user's mistake raises.

A script's door (`sourcetracing.runtime.cli.run_script`) prints a `UserError` as one line and exits with 2; every other exception is a
bug of ours and keeps its traceback.
"""


class UserError(ValueError):
    """A mistake the user can mend. The message names the thing and, where there is one, the next command.

    It is one line, whatever the names in it hold: line breaks and what no terminal shows are written as escapes.
    """

    def __str__(self) -> str:
        return "".join(char if char.isprintable() else _escaped(char) for char in super().__str__())


def _escaped(char: str) -> str:
    """A byte that is no UTF-8, which Python keeps as U+DC80 to U+DCFF, as \\xfc; else \\n, \\x85, \\u2028."""
    is_byte = "\udc80" <= char <= "\udcff"
    return f"\\x{ord(char) - 0xDC00:02x}" if is_byte else char.encode("unicode_escape").decode()
