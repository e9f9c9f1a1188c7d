"""The door that all scripts share: words in, one clear line out when something is wrong."""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from sourcetracing.errors import UserError
from sourcetracing.settings_io import Layers, describe, read_layers

EXIT_USER_ERROR, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 2, 130, 141
_PLAIN_OS_ERRORS = {errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM}


def run_script(
    work: Callable[..., None], *, doc: str, uses: Sequence[str], flags: Mapping[str, str] | None = None, argv: Sequence[str] | None = None
) -> None:
    """Runs `work` on the settings that the command line means, and ends the process.

    doc: the script's docstring, shown by --help. uses: the groups of settings it reads ("" = the ungrouped ones), shown by --help.
    flags: name -> meaning of those that the script knows; `work(layers, chosen)` then gets the set of those that were given.
    Exit status: 0 done, 2 the user's mistake (one line on stderr), 130 interrupted.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    chosen = {word for word in words if word in (flags or {})}
    job = work if flags is None else partial(_with_flags, work, chosen)
    sys.exit(_run(job, doc, uses, flags or {}, words))


def _with_flags(work: Callable[..., None], chosen: set[str], layers: Layers) -> None:
    work(layers, chosen)


def _run(work: Callable[[Layers], None], doc: str, uses: Sequence[str], flags: Mapping[str, str], words: list[str]) -> int:
    started = time.perf_counter()
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        if {"-h", "--help"} & set(words):
            _print_help(doc, uses, flags, [word for word in words if word not in {"-h", "--help", *flags}])
            return 0
        settings_words = [word for word in words if word not in flags]
        _refuse_flags(settings_words, flags)
        work(read_layers(settings_words))
    except UserError as error:
        return _complain(f"error: {error}")
    except KeyboardInterrupt:
        print(f"\ninterrupted: run the same command again and it goes on from here:\n  {_command(words)}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `script ... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except OSError as error:
        if error.errno not in _PLAIN_OS_ERRORS:
            raise
        return _complain(f"error: {error.strerror}: {error.filename or 'while writing'}. Mend that and run the same command again.")
    print(f"[{Path(sys.argv[0]).stem}] done in {time.perf_counter() - started:.1f} s", flush=True)
    return 0


def _as_interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _complain(line: str) -> int:
    print(line, file=sys.stderr)
    return EXIT_USER_ERROR


def _command(words: Sequence[str]) -> str:
    return shlex.join(["python", os.path.relpath(sys.argv[0]), *words])


def _refuse_flags(words: Sequence[str], flags: Mapping[str, str]) -> None:
    for word in words:
        if word.startswith("-"):
            known = ", ".join([*flags, "--help"])
            raise UserError(f"{word}: there are no flags here but {known}; settings are written key=value, for example train.epochs=3")
    if not any("=" not in word for word in words):
        raise UserError(f"a settings file is missing. Run: {_command(['configs/demo.yaml', *words])}")


def _print_help(doc: str, uses: Sequence[str], flags: Mapping[str, str], words: list[str]) -> None:
    settings = read_layers(words).resolve()
    origin = " ".join(words) if words else "the defaults; name a CONFIG.yaml before --help to see its values"
    print(re.sub(r"\n{3,}", "\n\n", doc.strip()))
    shown = "".join(f" [{flag}]" for flag in flags)
    print(f"\nusage: {_command([])} CONFIG.yaml [MORE.yaml ...] [key=value ...]{shown}   (later wins)")
    for flag, meaning in flags.items():
        print(f"  {flag:<12} {meaning}")
    print(f"\nsettings of this script ({origin}):\n{describe(settings, uses)}")
