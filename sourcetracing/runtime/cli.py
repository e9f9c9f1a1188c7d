"""The door that all scripts share: words in, one clear line out when something is wrong."""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout, RunLayout
from sourcetracing.runtime.damage import damage_in_words
from sourcetracing.runtime.progress import whole_bars
from sourcetracing.runtime.words import in_users_words, remember_words
from sourcetracing.settings.checking import did_you_mean, lookup
from sourcetracing.settings.names import printable
from sourcetracing.settings.reading import describe, read_config
from sourcetracing.settings.schema import Settings

Places = Callable[[list[str]], tuple[Path, list[Path]]]
_SETTINGS_FILES = "CONFIG.yaml [MORE.yaml ...]"
EXIT_USER_ERROR, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 2, 130, 141
# What the system says of wrong use of files and processes by this program. Everything else is about the user's disks, names and rights.
_OUR_OWN_ERRORS = {errno.EBADF, errno.EFAULT, errno.ECHILD, errno.ESPIPE, errno.ENOTSOCK, errno.EALREADY}


def run_script(
    work: Callable[..., None], *, doc: str, uses: Sequence[str], flags: Mapping[str, str] | None = None, argv: Sequence[str] | None = None
) -> None:
    """Runs `work` on the settings that the command line means, and ends the process.

    doc: the script's docstring, shown by --help. uses: the groups of settings it reads ("" = the ungrouped ones), shown by --help.
    flags: name -> meaning of those that the script knows, "--check" or, with a value, "--shard i/n"; `work(config, chosen)` then gets
    those that were given: name -> value ("" where it takes none).
    Exit status: 0 done, 2 the user's mistake (one line on stderr), 130 interrupted.
    """

    def act(words: list[str]) -> bool:
        chosen, settings_words = _take_flags(words, flags or {})
        if "--help" in chosen:
            _print_help(doc, uses, flags or {}, [word for word in settings_words if not word.startswith("-")])
            return False
        _refuse_flags(settings_words, flags or {})
        _require_file(settings_words, doc)
        remember_words(settings_words)
        config = read_config(settings_words)
        work(config, chosen) if flags else work(config)
        return True

    def places(words: list[str]) -> tuple[Path, list[Path]]:
        settings = read_config(_take_flags(words, flags or {})[1]).resolve()
        exp = Path(settings.paths.exp)
        return exp, [Layout.of(settings).root, exp / "noise_bank"]

    sys.exit(_run(act, sys.argv[1:] if argv is None else list(argv), places))


def run_tool(
    work: Callable[[list[str], dict[str, str], list[str]], None],
    *,
    doc: str,
    uses: Sequence[str],
    things: str,
    flags: Mapping[str, str],
    argv: Sequence[str] | None = None,
) -> None:
    """`run_script` for a script whose words are things to work on instead of settings files: `work(words, chosen flags, settings words)`.

    things: what --help calls them. A word with = is a setting, unless there is a file of that name.
    """

    def act(words: list[str]) -> bool:
        chosen, others = _take_flags(words, flags)
        changes = [word for word in others if "=" in word and not word.startswith("-") and not os.path.exists(word)]
        others = [word for word in others if word not in changes]
        if "--help" in chosen:
            _print_help(doc, uses, flags, changes, things)
            return False
        _refuse_flags([word for word in others if not os.path.exists(word)], flags)
        work(others, chosen, changes)
        return True

    def places(words: list[str]) -> tuple[Path, list[Path]]:
        runs = [Path(word) for word in words if RunLayout(Path(word)).config.is_file()]
        roots = [run.resolve().parents[2] for run in runs]  # exp/<name>/runs/<system>/<run>
        return (roots[0].parent if roots else Path()), [*runs, *roots]

    sys.exit(_run(act, sys.argv[1:] if argv is None else list(argv), places))


def _run(act: Callable[[list[str]], bool], words: list[str], places: Places = lambda words: (Path(), [])) -> int:
    """places: words -> (the folder of all experiments, the folders that damage would lie in)."""
    if os.environ.get("RANK", "0") != "0":  # of several processes that torchrun or accelerate started, the first one talks
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show ends nothing
    started = time.perf_counter()
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        with whole_bars():
            if not act(words):  # --help
                return 0
    except UserError as error:
        return _complain(f"error: {error}")
    except KeyboardInterrupt:
        print(f"\ninterrupted: run the same command again and it goes on from here:\n  {_command(words)}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `script ... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except OSError as error:
        if error.errno in _OUR_OWN_ERRORS or (error.errno == errno.EINVAL and not error.filename):
            raise
        return _complain(f"error: {_in_words(error)}. Mend that and run the same command again.")
    except Exception as error:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # numpy's; torch's on a CPU
            return _complain(f"error: these settings need more memory than there is{_first_line(error)}: lower sizes, or compute.workers")
        if (damage := _damage(places, words)) is None:
            raise
        return _complain(f"error: {damage}. (Found after {type(error).__name__}{_first_line(error)}; if that stays, please report it)")
    print(f"[{Path(sys.argv[0]).stem}] done in {time.perf_counter() - started:.1f} s", flush=True)
    return 0


def _in_words(error: OSError) -> str:
    """`No space left on device: exp/demo/report.html`; numpy and pyarrow leave out number and name."""
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{error.strerror or ' '.join(str(error).split())}: {' -> '.join(names) or 'while reading or writing'}"


def _first_line(error: Exception) -> str:
    return f" ({str(error).splitlines()[0][:200]})" if str(error) else ""


def _damage(places: Places, words: list[str]) -> str | None:
    try:
        return damage_in_words(*places(words))
    except (UserError, OSError):  # the settings themselves
        return None


def _as_interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _complain(line: str) -> int:
    print(printable(in_users_words(line)), file=sys.stderr)
    return EXIT_USER_ERROR


def _command(words: Sequence[str]) -> str:
    return shlex.join(["python", os.path.relpath(sys.argv[0]), *words])


def _take_flags(words: Sequence[str], flags: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The flags that were given, name -> value, and the other words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", dest="--help", action="store_const", const="")
    for usage in flags:
        name, _, value = usage.partition(" ")
        parser.add_argument(name, dest=name, **({} if value else {"action": "store_const", "const": ""}))
    try:
        chosen, others = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        usage = next((usage for usage in flags if usage.split()[0] == error.argument_name), "--help")
        what = "what follows it is missing" if " " in usage else "nothing follows it"
        raise UserError(f"{usage}: {what}") from None
    return vars(chosen), others


def _refuse_flags(words: Sequence[str], flags: Mapping[str, str]) -> None:
    for word in words:
        if not word.startswith("-"):
            continue
        name, _, value = word.partition("=")
        if value and _is_setting(setting := name.lstrip("-")):
            raise UserError(f"{word}: settings are written without dashes: {setting}={value}")
        hint = did_you_mean(name, [*(flag.split()[0] for flag in flags), "--help"], nearness=0.7)  # their dashes are alike
        more = "" if hint.endswith("?") else ". Settings are written key=value, such as train.epochs=3"
        raise UserError(f"{name}: there is no such flag{hint}{more}")


def _is_setting(name: str) -> bool:
    try:
        lookup(Settings, name, name)
    except UserError:
        return False
    return True


def _require_file(words: Sequence[str], doc: str) -> None:
    if not any("=" not in word for word in words):
        example = next(iter(re.findall(r"configs/\w+\.yaml", doc)), "configs/demo.yaml")
        raise UserError(f"a settings file is missing. Run: {_command([example, *words])}")


def _print_help(doc: str, uses: Sequence[str], flags: Mapping[str, str], words: list[str], things: str = _SETTINGS_FILES) -> None:
    settings = read_config(words).resolve()
    origin = " ".join(words) if words else "the defaults; name a CONFIG.yaml before --help to see its values"
    print(re.sub(r"\n{3,}", "\n\n", doc.strip()))
    shown = "".join(f" [{flag}]" for flag in flags)
    print(f"\nusage: {_command([])} {things}{' [key=value ...]' if uses else ''}{shown}{'   (later wins)' if uses else ''}")
    for flag, meaning in flags.items():
        print(f"  {flag:<12} {meaning}")
    if uses:
        print(f"\nsettings of this script ({origin}):\n{describe(settings, uses)}")
