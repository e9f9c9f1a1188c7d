"""The work of group_audio.py: files in, groups out; broken files are named, the others go on; the same bytes count once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sourcetracing.casework.grouping import draw_again, group_files, neighbours_of, pair_llrs, require_decisive, stability_of
from sourcetracing.casework.grouping_result import GroupedFile, GroupingResult
from sourcetracing.casework.groups_page import write_groups_page
from sourcetracing.casework.groups_truth import read_truth, sources_of
from sourcetracing.casework.redrawn_lines import redrawn_lines
from sourcetracing.casework.spectra import long_term_spectrum
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_file, write_frame
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.grouping import Grouping
from sourcetracing.settings.names import printable
from sourcetracing.settings.schema import Settings
from sourcetracing.tracing.inputs import list_files, require_no_overwriting
from sourcetracing.tracing.job import trace_or_say_why
from sourcetracing.tracing.output import Failure
from sourcetracing.tracing.phrases import about
from sourcetracing.tracing.system import score_splits
from sourcetracing.tracing.tracer import DISAGREE, Tracer
from sourcetracing.verification.verifier import Verifier

NUM_NAMED = 3  # files that a line names
BYTES_OF_A_PAIR = {"agglomerative": 18, "hdbscan": 36}  # measured at 5,000 files
# Groups need no probabilities of known sources: nothing is fitted for them.
_UNASKED = "trace.detector=none"


@dataclass(frozen=True)
class GroupOutputs:
    """Where the groups go besides the terminal."""

    csv: Path | None = None
    html: Path | None = None


def group_audio(words: Sequence[str], run_folder: str, changes: Sequence[str], outputs: GroupOutputs, truth: Path | None = None) -> None:
    """Groups the files that the words name, prints the groups and writes what is asked for.

    truth: a list of sources. Raises `UserError` where nothing can be grouped, and at the end when some files could not be used.
    """
    if not words:
        raise UserError("which files? Name audio files, folders or patterns: python scripts/group_audio.py folder/ --run RUN_FOLDER")
    listed, num_left_out = list_files(words)
    require_no_overwriting([outputs.csv, outputs.html], [*listed, *([truth] if truth else [])])
    known = read_truth(truth) if truth else {}
    distinct, failures = _distinct(listed)
    tracer = Tracer.load(run_folder, [*changes, _UNASKED])
    settings = tracer.system.settings.grouping
    _require_number(distinct, settings)
    sources = sources_of(list(distinct.values()), known) if truth else None
    run = tracer.system.run
    score_splits(run, ["train", "dev"], tracer.system.device)
    verifier = Verifier.of(run)
    require_decisive(verifier.line(1, 1), settings, run.folder)
    print(about(tracer.system), flush=True)
    if num_left_out:
        print(f"{num_left_out} files in these folders were left out: their names are not those of audio")
    _name_copies(distinct)
    files, more = _listen(distinct, tracer, verifier, with_spectra=outputs.html is not None)
    failures = [*failures, *more]
    if len(files) < 2:
        raise UserError(f"{len(files)} of {len(listed)} files could be used, and groups need two (the lines above say why)")
    if sources is not None:
        kept = {file.digest for file in files}
        sources = [source for digest, source in zip(distinct, sources, strict=True) if digest in kept]
    result = grouped(str(run.folder), files, failures, sources, verifier, tracer.system.settings)
    _tell(result, outputs)
    if failures:
        named = ", ".join(printable(failure.path) for failure in failures[:NUM_NAMED]) + (" ..." if len(failures) > NUM_NAMED else "")
        raise UserError(f"{len(failures)} of {len(listed)} files could not be used (their lines above say why): {named}")


def _distinct(paths: Sequence[Path]) -> tuple[dict[str, tuple[Path, ...]], list[Failure]]:
    """Digest -> the paths of these bytes, in the order of the digests; and what cannot be read."""
    found: dict[str, list[Path]] = {}
    failures = []
    for path in paths:
        try:
            found.setdefault(digest_of_file(path), []).append(path)
        except OSError as error:
            failures.append(Failure(str(path), "is missing" if isinstance(error, FileNotFoundError) else f"{error.strerror or error}"))
            print(f"{printable(str(path))}: NOT USED: {failures[-1].reason}")
    return {digest: tuple(sorted(found[digest])) for digest in sorted(found)}, failures


def _require_number(distinct: dict[str, tuple[Path, ...]], settings: Grouping) -> None:
    if len(distinct) < 2:
        copies = next(iter(distinct.values()), ())
        what = (
            f"{printable(str(copies[0]))} and {printable(str(copies[1]))} hold the same bytes" if len(copies) > 1 else "there is one file"
        )
        raise UserError(f"groups need two different files: {what if distinct else 'none of these can be read'}")
    if len(distinct) > settings.most_files:
        gigabytes = BYTES_OF_A_PAIR[settings.method] * len(distinct) ** 2 / 1e9
        raise UserError(
            f"{len(distinct):,} files are more than grouping.most_files={settings.most_files:,}; all pairs of them take about "
            f"{gigabytes:.1f} GB of memory. If there is so much, add grouping.most_files={len(distinct)}"
        )


def _name_copies(distinct: dict[str, tuple[Path, ...]]) -> None:
    for paths in distinct.values():
        if len(paths) > 1:
            copies = ", ".join(printable(str(path)) for path in paths[1:])
            print(f"{printable(str(paths[0]))}: the same bytes as {copies}; counted once")


def _listen(
    distinct: dict[str, tuple[Path, ...]], tracer: Tracer, verifier: Verifier, *, with_spectra: bool
) -> tuple[list[GroupedFile], list[Failure]]:
    files, failures = [], []
    with bar(total=len(distinct), desc="listen", unit="file") as progress:
        for digest, paths in distinct.items():
            heard = _heard(digest, paths, tracer, verifier, with_spectra)
            if isinstance(heard, Failure):
                failures.append(heard)
                progress.write(f"{printable(heard.path)}: NOT USED: {heard.reason}")
            else:
                files.append(heard)
            progress.update(1)
    return files, failures


def _heard(digest: str, paths: tuple[Path, ...], tracer: Tracer, verifier: Verifier, with_spectrum: bool) -> GroupedFile | Failure:
    traced = trace_or_say_why(tracer, paths[0])
    if isinstance(traced, Failure):
        return traced
    direction = verifier.models([traced.embedding[None]])[0]
    if not np.isfinite(direction).all() or not direction.any():
        return Failure(str(paths[0]), "its embedding has no direction that could be compared")
    spectrum = long_term_spectrum(paths[0], tracer.audio) if with_spectrum else None
    notes = tuple(note for note in traced.notes if not note.startswith(DISAGREE))  # on known sources, of which no file need be
    return GroupedFile(paths, digest, traced.embedding, direction, notes, spectrum)


def grouped(
    run: str,
    files: Sequence[GroupedFile],
    failures: Sequence[Failure],
    sources: Sequence[str] | None,
    verifier: Verifier,
    settings: Settings,
) -> GroupingResult:
    """Groups files that were listened to, in the order of their digests. settings: of the run, with their `grouping`."""
    directions, how = np.stack([file.direction for file in files]), settings.grouping
    llrs = pair_llrs(directions, verifier.line(1, 1))
    labels = group_files(llrs, how)
    draws = draw_again(directions, redrawn_lines(verifier, how.draws), how, settings.seed)
    stability, neighbours = stability_of(draws, labels), neighbours_of(llrs, labels)
    return GroupingResult(
        run, files, failures, llrs, labels, draws, stability, neighbours, sources, verifier, settings.audio.sample_rate, how
    )


def _tell(result: GroupingResult, outputs: GroupOutputs) -> None:
    print(result.basis())
    print("\n".join(result.lines()))
    print("When not to believe this:")
    print("\n".join(f"  - {line}" for line in result.limits()))
    if outputs.csv:
        write_frame(result.table(), outputs.csv)
        print(f"table: {outputs.csv}")
    if outputs.html:
        write_groups_page(outputs.html, result)
        print(f"page: {outputs.html}")
