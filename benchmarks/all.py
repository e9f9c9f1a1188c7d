"""Every benchmark of a CPU, one after the other, each in a process of its own: one machine, one run, one table.

At most `budget` seconds each and `total` in all. Nothing is refused; where other programs compute too, that is said here and in the record.
What a part cannot do is a row of the table that says so, and the others go on. Ctrl-C keeps what is known.

Run     python benchmarks/all.py [only=rawboost,nsd] [budget=150] [total=2040] [record=FILE.md] [readme=FILE.md]      (35 minutes at most)
        python benchmarks/all.py miniature      (tiny sizes, three minutes: shows that all of them run; the times mean nothing)
Prints  a line for each as it ends
Writes  when all run, benchmarks/results/<cpu>_<date>.md: the table, and what each printed; and the table of benchmarks/README.md. With
        only= and in miniature what `record=` and `readme=` name.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _documents import with_table
from _machine import cpu_name, num_cores, others_at_work, today, versions
from _rounds import BUDGET_SECONDS, INTERRUPTED, STRAIGHTFORWARD, defaults, help_or_go_on, parse, ratios, require_writable, spread

from sourcetracing.errors import UserError
from sourcetracing.runtime.compute import cpu_has_bf16
from sourcetracing.runtime.files import write_text
from sourcetracing.training.run_folder import git_commit

HERE = Path(__file__).resolve().parent
PARTS = (
    "preprocessing",
    "preprocessing_memory",
    "feature_reading",
    "ssl_extraction",
    "layer_extraction",
    "training_step",
    "finetuning_step",
    "ge2e_loss",
    "nsd",
    "rawboost",
    "robustness",
    "mixing",
    "protocols",
    "growth",
)
KNOWN = {"only": "", "budget": BUDGET_SECONDS, "total": 2040.0, "record": "", "readme": ""}
GRACE_SECONDS, LAST_WORDS_SECONDS = 30, 15  # past its budget a part is interrupted, and then killed
MARKERS = ("<!-- made by `make benchmark`: begin -->", "<!-- made by `make benchmark`: end -->")
HEAD = ("| what | command | ours: median (least–most) | straightforward | ratio |", "|---|---|---:|---:|---:|")


@dataclass
class Outcome:
    """What came of one part."""

    name: str
    seconds: float = 0.0
    failure: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    printed: str = ""

    @property
    def command(self) -> str:
        return f"python benchmarks/{self.name}.py"


def run_part(script: Path, words: Sequence[str], limit_seconds: float) -> Outcome:
    """Runs one benchmark; interrupts it when it is past its time. Raises KeyboardInterrupt with the outcome in `args`."""
    started, outcome, stopped = time.perf_counter(), Outcome(script.stem), None
    with tempfile.TemporaryDirectory() as folder:
        results, out, err = (Path(folder) / name for name in ("rows.jsonl", "out", "err"))
        with open(out, "wb") as out_file, open(err, "wb") as err_file:
            command = [sys.executable, str(script), *words, f"json={results}"]
            child = subprocess.Popen(command, stdout=out_file, stderr=err_file, start_new_session=True)
            try:
                child.wait(limit_seconds)
            except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
                stopped = error
                end(child)
        outcome.seconds = time.perf_counter() - started
        outcome.printed = out.read_text(encoding="utf-8", errors="replace")
        outcome.rows = rows_of(results)
        complaints = [line for line in err.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    if stopped is not None:
        outcome.failure = "interrupted" if isinstance(stopped, KeyboardInterrupt) else f"did not end in {limit_seconds:.0f} s"
    elif child.returncode:
        outcome.failure = f"failed: {complaints[-1] if complaints else f'exit status {child.returncode}'}"
    if isinstance(stopped, KeyboardInterrupt):
        raise KeyboardInterrupt(outcome)
    return outcome


def rows_of(results: Path) -> list[dict[str, Any]]:
    """What a part left, but for a line that was cut off when it died."""
    rows = []
    for line in results.read_text(encoding="utf-8").splitlines() if results.exists() else []:
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def end(child: subprocess.Popen) -> None:
    """Interrupts a part and its children, which may still tell what they know; then kills them."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(LAST_WORDS_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def table_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Markdown, a line for each row of each part and for each failure."""
    lines = list(HEAD)
    for outcome in outcomes:
        for row in outcome.rows:
            ours, theirs = row["ours"], row[STRAIGHTFORWARD]
            unit = f"{row['unit']} for {row['each']}" if row["each"] else row["unit"]
            ratio = f"**{spread(ratios(ours, theirs))}×**" if ours and theirs else "–"
            what = ", ".join(filter(None, (row["what"], unit))) + (f" ({row['stopped']})" if row["stopped"] else "")
            lines.append(_row(what, f"`{outcome.command}`", spread(ours), spread(theirs), ratio))
        if outcome.failure:
            lines.append(_row(outcome.name.replace("_", " "), f"`{outcome.command}`", outcome.failure, "–", "–"))
        elif not outcome.rows:
            lines.append(_row(outcome.name.replace("_", " "), f"`{outcome.command}`", "no result", "–", "–"))
    return lines


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def headline(busy: str, is_miniature: bool = False) -> str:
    """One sentence on where, when and of what this is."""
    packages = ", ".join(f"{name} {number}" for name, number in versions().items())
    bf16 = "with" if cpu_has_bf16() else "without"
    state = f"**busy while it ran: {busy}**" if busy else "no other program at work when a part began"
    state = "**a miniature: the times mean nothing**" if is_miniature else state
    return f"{cpu_name()}, {bf16} bf16, {num_cores()} cores, {today()}, commit {git_commit()}; {packages}; {state}."


def busy_while(before: str, outcomes: Sequence[Outcome]) -> str:
    """What was seen of others, at the start and when each part began; empty if nothing."""
    seen = {f"before {outcome.name}": next((row["busy"] for row in outcome.rows if row["busy"]), "") for outcome in outcomes}
    return "; ".join(f"{when}: {told}" for when, told in {"at the start": before, **seen}.items() if told)


def record_of(busy: str, outcomes: Sequence[Outcome], is_miniature: bool) -> str:
    """The file in benchmarks/results."""
    lines = [f"# {cpu_name()}, {today()}", "", headline(busy, is_miniature), "", *table_of(outcomes)]
    for outcome in outcomes:
        printed = [f"    {line}".rstrip() for line in outcome.printed.splitlines()]
        lines += ["", f"## {outcome.name}, {outcome.seconds:.0f} s", "", *printed]
    return "\n".join(lines) + "\n"


def told(outcome: Outcome) -> str:
    """The line of a part that has ended: how many times as fast ours was as the straightforward way."""
    results = [f"{spread(ratios(row['ours'], row[STRAIGHTFORWARD]))}x" for row in outcome.rows if row["ours"] and row[STRAIGHTFORWARD]]
    fast = f"{', '.join(results)} as fast" if results else ""
    return f"{outcome.name:22}{outcome.seconds:5.0f} s  {'; '.join(filter(None, (outcome.failure, fast)))}"


def parts_of(only: str | None) -> tuple[str, ...]:
    """Which to run, in their order. Raises `UserError` for a name that is none."""
    asked = [name.strip() for name in only.split(",")] if only is not None else []
    unknown = [name for name in asked if name not in PARTS]
    if unknown:
        raise UserError(f"only={only} names no benchmark. Known: {', '.join(PARTS)}")
    return tuple(name for name in PARTS if not asked or name in asked)


def main(words: Sequence[str]) -> int:
    """Runs the parts; returns the exit status: 1 where one failed."""
    is_miniature = "miniature" in words
    help_or_go_on(__file__, words)
    asked = parse([word for word in words if word != "miniature"], KNOWN)
    options, parts, outcomes = defaults(KNOWN) | asked, parts_of(asked.get("only")), []
    busy, started = "" if is_miniature else others_at_work(), time.perf_counter()
    is_whole = parts == PARTS and not is_miniature
    where = options["record"] or (HERE / "results" / f"{_file_name(cpu_name())}_{today()}.md" if is_whole else "")
    readme = Path(options["readme"] or HERE / "README.md") if options["readme"] or is_whole else None
    for path in filter(None, (where, readme)):
        require_writable(Path(path))
    if readme:
        with_table(readme.read_text(encoding="utf-8"), [], MARKERS)
    if is_miniature:
        print("miniature: shows that all of them run; the times mean nothing", flush=True)
    if busy:
        print(f"warning: {busy}; the times are worth little", flush=True)
    status = 0
    for number, name in enumerate(parts):
        left = options["total"] - (time.perf_counter() - started)
        budget = max(1.0, min(options["budget"], left / (len(parts) - number)))
        try:
            outcome = run_part(HERE / f"{name}.py", [f"budget={budget:.0f}", *["miniature"] * is_miniature], budget + GRACE_SECONDS)
        except KeyboardInterrupt as error:
            outcome, status = error.args[0], INTERRUPTED
        outcomes.append(outcome)
        print(told(outcome), flush=True)
        if where:
            write_text(Path(where), record_of(busy_while(busy, outcomes), outcomes, is_miniature))
        if status:
            return status
    if readme:
        text = headline(busy_while(busy, outcomes), is_miniature)
        rewrite(readme, ["", text, "", *table_of(outcomes), ""])
    print(f"{time.perf_counter() - started:.0f} s in all" + (f"; written to {where}" if where else ""))
    return int(any(outcome.failure for outcome in outcomes))


def rewrite(readme: Path, lines: Sequence[str]) -> None:
    """Puts other lines where the document has its markers."""
    write_text(readme, with_table(readme.read_text(encoding="utf-8"), lines, MARKERS))


def _file_name(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_").lower()


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)  # a part has a session of its own and would go on
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
