"""What every benchmark shares: its options, alternating rounds within a time budget, and rows for the table.

    OPTIONS, MINIATURE = {"rounds": 5, "files": 10, "device": ("auto", "cpu", "cuda")}, {"files": 2}

    def main(words: list[str]) -> None:
        with Bench(__file__, words, OPTIONS, MINIATURE) as bench:
            bench.compare("what is done", {"straightforward": first, "ours": second}, unit="ms", per=bench["files"])

A default gives an option its type; a tuple is a choice, its first word the default. Every benchmark also knows `miniature` (sizes that show
in seconds that it runs; its figures mean nothing), `budget=` (seconds in all), `json=` (a file that each row is added to, a line each) and
`record=` (a Markdown file of all that was printed).

The ways take turns, so that a machine that drifts hits all of them, and a ratio is that of two neighbours. Each time is printed as soon as
it is known. There is one whole round at least; another one is begun only if the longest so far would end within the budget. Ctrl-C ends
with what is known.
"""

from __future__ import annotations

import ast
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _machine import cpu_name, num_cores, others_at_work, today, write_record

from sourcetracing.errors import UserError

BUDGET_SECONDS = 150.0
UNITS = {"s": 1.0, "ms": 1e3, "µs": 1e6}
STRAIGHTFORWARD = "straightforward"
FLAGS = ("--help", "miniature")
INTERRUPTED = 130  # exit status, as shells have it

Way = Callable[[], object]  # does it once; a float that it returns is its seconds, which it took itself
Times = dict[str, list[float]]  # of each way, a value for each whole round


class Bench:
    """One start of one benchmark. Use as a context manager; `bench["files"]` is an option."""

    def __init__(
        self,
        script: str,
        words: Sequence[str],
        options: Mapping[str, Any],
        miniature: Mapping[str, Any],
        clock: Callable[[], float] = time.perf_counter,
    ):
        help_or_go_on(script, words)
        self.name, self.clock, self.started = Path(script).stem, clock, clock()
        self.is_miniature = "miniature" in words
        known = {"rounds": 3, **options, "budget": BUDGET_SECONDS, "json": "", "record": ""}
        try:
            asked = parse([word for word in words if word != "miniature"], known)
        except UserError as error:
            _refuse(error)
        self.options = defaults(known) | ({"rounds": 1, **miniature} if self.is_miniature else {}) | asked
        try:
            for path in filter(None, (self.options["json"], self.options["record"])):
                require_writable(Path(path))
        except UserError as error:
            _refuse(error)
        self.busy, self.device, self.lines = "", cpu_name(), []
        self.command = shlex.join([f"benchmarks/{self.name}.py", *words])

    def __getitem__(self, option: str) -> Any:
        return self.options[option]

    def __enter__(self) -> Bench:
        self.say(f"{self.name}: {self.device}, {num_cores()} cores, {today()}")
        if self.is_miniature:
            self.say("  miniature: shows that it runs; the times mean nothing")
        else:
            self.busy = others_at_work(with_load=not self["json"])  # of one among others the load is what those before it made
            if self.busy:
                self.say(f"  warning: {self.busy}; the times are worth little")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.say("  interrupted: what stands above is all")
            self._record()
            raise SystemExit(INTERRUPTED) from None
        if isinstance(error, UserError):
            _refuse(error)
        if error is None:
            self.say(f"  {self.clock() - self.started:.0f} s in all")
            self._record()

    def say(self, text: str) -> None:
        """Prints a line at once."""
        self.lines.append(text)
        print(text, flush=True)

    def _record(self) -> None:
        if self["record"]:
            write_record(Path(self["record"]), self.name, self.device, f"python {self.command}", self.lines)

    def seconds_left(self) -> float:
        """Of the budget."""
        return self["budget"] - (self.clock() - self.started)

    def with_bf16(self) -> bool:
        """Whether this processor computes in bf16; where it does not, says that bf16 is left out."""
        from sourcetracing.runtime.compute import cpu_has_bf16

        if not cpu_has_bf16():
            self.say("  bf16 is left out: this processor only imitates it, many times slower than float32")
        return cpu_has_bf16()

    def fitted(
        self, what: str, size: int, probe_size: float, probe: Callable[[], object], *, least: int = 1, parts: int = 1, rounds: int = 2
    ) -> int:
        """`size`, or less where not even `rounds` rounds of it would fit. probe: all ways once at `probe_size`, warm; a
        float that it returns is its seconds.

        parts: this one and those to come, which share the time that is left. `least` is taken even if it does not fit. Miniatures are small
        as they are.
        """
        if self.is_miniature:
            return size
        started, own = self.clock(), probe()
        took = own if isinstance(own, float) else self.clock() - started
        seconds, left = took * size / probe_size, self.seconds_left() / parts
        if rounds * seconds <= left:
            return size
        fits = min(size, max(least, int(size * left / (rounds * seconds))))
        self.say(f"  {what}: {fits} instead of {size}; a round of {size} would take about {seconds:.0f} s here, and {left:.0f} s are left")
        return fits

    def compare(
        self,
        what: str,
        ways: Mapping[str, Way],
        *,
        unit: str = "s",
        per: float = 1,
        each: str = "",
        baseline: str = STRAIGHTFORWARD,
        rows: Mapping[str, str] | None = None,
        parts: int = 1,
    ) -> Times:
        """Times the ways in alternating rounds and returns what each took, in `unit` for one of `per` things (`each`: "a file").

        rows: way -> what it is called in the table; by default the way `ours` is a row, called `what`.
        parts: this comparison and those to come, which share the time that is left.
        """
        self.say(f"  {what}, {unit}{f' for {each}' if each else ''}")
        factor, rounds = UNITS[unit] / per, Rounds(ways, self["rounds"], self.seconds_left() / parts, self.clock, self.say)
        try:
            rounds.run(f"{unit}", factor)
        finally:  # what is known is told, whatever ends it
            times = {name: [seconds * factor for seconds in values] for name, values in rounds.whole().items()}
            self._summarize(times, unit, baseline, rounds)
            for name, title in ({"ours": what} if rows is None else rows).items():
                self.row(title, times[name], times.get(baseline, []), unit=unit, each=each, stopped=rounds.stopped)
        return times

    def _summarize(self, times: Times, unit: str, baseline: str, rounds: Rounds) -> None:
        if rounds.stopped:
            self.say(f"    {rounds.stopped}")
        for name, values in times.items():
            if values:
                told = f"   {spread(ratios(values, times[baseline]))}x" if baseline in times and name != baseline else ""
                self.say(f"    {name:38} {spread(values)} {unit}{told}")

    def row(
        self, what: str, ours: Sequence[float], straightforward: Sequence[float] = (), *, unit: str, each: str = "", stopped: str = ""
    ) -> None:
        """Adds a row of the table to the file `json=`: less is better in all of them."""
        row = {"benchmark": self.name, "what": what, "unit": unit, "each": each, "ours": list(ours), STRAIGHTFORWARD: list(straightforward)}
        if self["json"]:
            with open(self["json"], "a", encoding="utf-8") as file:
                file.write(json.dumps({**row, "stopped": stopped, "busy": self.busy}, ensure_ascii=False) + "\n")


class Rounds:
    """Alternating rounds of some ways, until all are done or another would not end in time."""

    def __init__(self, ways: Mapping[str, Way], rounds: int, budget: float, clock: Callable[[], float], say: Callable[[str], None] = print):
        self.ways, self.rounds, self.budget, self.clock, self.say = ways, rounds, budget, clock, say
        self.seconds: dict[str, list[float]] = {name: [] for name in ways}
        self.stopped = ""

    def run(self, unit: str, factor: float) -> None:
        """All rounds, a line for each time. Raises what a way raises; `stopped` says it then."""
        started, longest, done = self.clock(), 0.0, 0
        self.stopped = "interrupted"
        for number in range(self.rounds):
            before = self.clock()
            if number and before - started + longest > self.budget:
                break
            for name, way in self.ways.items():
                self._one(name, way, number, unit, factor)
            longest, done = max(longest, self.clock() - before), number + 1
        self.stopped = f"{done} of {self.rounds} rounds: the time is up" if done < self.rounds else ""

    def _one(self, name: str, way: Way, number: int, unit: str, factor: float) -> None:
        before = self.clock()
        own = way()
        self.seconds[name].append(own if isinstance(own, float) else self.clock() - before)
        self.say(f"    round {number + 1}  {name:38} {figure(self.seconds[name][-1] * factor)} {unit}")

    def whole(self) -> Times:
        """Seconds of each way in the rounds that all ways have ended."""
        num = min(map(len, self.seconds.values()), default=0)
        return {name: values[:num] for name, values in self.seconds.items()}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """How many times as much the others took, round by round."""
    return [other / own for own, other in zip(ours, theirs, strict=True)]


def figure(value: float) -> str:
    """Three digits, none of them after the point from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def spread(values: Sequence[float]) -> str:
    """`median (least–most)`."""
    if not values:
        return "–"
    return figure(values[0]) if len(values) == 1 else f"{figure(median(values))} ({figure(min(values))}–{figure(max(values))})"


def defaults(known: Mapping[str, Any]) -> dict[str, Any]:
    """What each option is if nobody asks for another."""
    return {name: default[0] if isinstance(default, tuple) else default for name, default in known.items()}


def parse(words: Sequence[str], known: Mapping[str, Any], flags: Sequence[str] = FLAGS) -> dict[str, Any]:
    """Options from words such as `rounds=3`. flags: words without a value, which the caller has dealt with.

    Raises `UserError`, one line that names the word, for one that nobody knows or can be read.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in known:
            raise UserError(f"unknown word {word!r}. Known: {', '.join([*flags, *(f'{one}=' for one in known)])}")
        found[name] = _read(name, text, known[name])
    return found


def _read(name: str, text: str, default: Any) -> Any:
    if isinstance(default, tuple):
        if text not in default:
            raise UserError(f"{name}={text} is none of: {', '.join(default)}")
        return text
    if isinstance(default, bool):
        return {"true": True, "false": False}[_read(name, text, ("true", "false"))]
    if isinstance(default, int | float):
        try:
            number = type(default)(text)
        except ValueError:
            number = None
        least = min(default, 1) if isinstance(default, int) else 0  # 0 is a number to ask for where it is the default
        if number is None or not least <= number < float("inf") or (number == 0 < default):
            bound = f"of at least {least:g}" if least else "above 0" if default else "of at least 0"
            raise UserError(f"{name}={text} is no {'whole ' * isinstance(default, int)}number {bound}")
        return number
    return text


def options_or_exit(script: str, words: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """All options of what is no `Bench`; a mistake is one line, and the exit status 2. --help prints the first lines of the script."""
    help_or_go_on(script, words)
    try:
        return defaults(known) | parse(words, known, FLAGS[:1])
    except UserError as error:
        _refuse(error)


def help_or_go_on(script: str, words: Sequence[str]) -> None:
    """Prints what a script says of itself, and exits, where a word asks for that."""
    if {"--help", "-h"} & set(words):
        print(ast.get_docstring(ast.parse(Path(script).read_text(encoding="utf-8"))))
        raise SystemExit(0)


def require_writable(path: Path) -> None:
    """Raises `UserError`: what cannot be written is known before the measuring."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from None


def _refuse(error: UserError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2)
