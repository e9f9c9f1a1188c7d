"""The words that this run was started with, so that a command it names can be typed as it stands.

Messages say `python scripts/05_train_matrix.py CONFIG.yaml`; what a person reads is filled in where it is printed: the door
(`sourcetracing.runtime.cli`) does so for complaints, scripts name what comes next by `say_next`. Files keep CONFIG.yaml.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from contextvars import ContextVar

from sourcetracing.settings.places import PROJECT_ROOT

PLACEHOLDER = "CONFIG.yaml"
_COMMAND = re.compile(rf"\bpython ((?:\w+/)*\w+\.py)( {re.escape(PLACEHOLDER)})?")
_words: ContextVar[tuple[str, ...]] = ContextVar("words of this run", default=(PLACEHOLDER,))


def remember_words(words: Sequence[str]) -> None:
    """The settings files and key=value words that later commands are to be run with; none leaves the placeholder."""
    _words.set(tuple(words) or (PLACEHOLDER,))


def in_users_words(text: str) -> str:
    """`text` with the commands in it as they are typed here: scripts as the working folder sees them, the words of this run."""
    return _COMMAND.sub(_as_typed, text)


def say_next(commands: str) -> None:
    """The last line of a script: what to run now."""
    print(in_users_words(f"next: {commands}"))


def _as_typed(found: re.Match) -> str:
    script, placeholder = found.groups()
    ours = PROJECT_ROOT / script
    command = f"python {shlex.quote(os.path.relpath(ours) if ours.is_file() else script)}"
    if placeholder is None:
        return command
    words = _words.get()
    return f"{command} {PLACEHOLDER if words == (PLACEHOLDER,) else shlex.join(words)}"
