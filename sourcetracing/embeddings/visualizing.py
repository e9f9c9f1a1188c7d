"""From the embeddings of runs to pictures, a page and numbers (script 09)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from sourcetracing.embeddings.colouring import LABELS, Colouring, colouring_of
from sourcetracing.embeddings.page import write_page
from sourcetracing.embeddings.pictures import write_picture
from sourcetracing.embeddings.projections import Projection, prepared, project
from sourcetracing.embeddings.quality import TEXTS, label_quality
from sourcetracing.embeddings.sampling import stratified_rows
from sourcetracing.embeddings.stored import load_embeddings, only_writer, read_pictures_record, read_record
from sourcetracing.errors import UserError
from sourcetracing.layout import EmbeddingLayout
from sourcetracing.runtime.compute import prepare_cpu
from sourcetracing.runtime.extras import version_of
from sourcetracing.runtime.files import atomic_path, digest_of_json, read_csv, write_frame, write_json, written_together
from sourcetracing.runtime.parallel import map_unordered, resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.training.runs import TrainingRun

LIBRARIES = ("numpy", "scikit-learn", "umap-learn", "faiss-cpu", "matplotlib")


def visualize_runs(runs: Sequence[TrainingRun]) -> list[TrainingRun]:
    """Makes the pictures of the runs that have none of their embeddings and settings; returns these runs.

    Raises `UserError`: a run has no embeddings, or too few; no such variant.
    """
    to_do = [run for run in runs if not is_drawn(run)]
    if to_do:
        workers = min(resolve_workers(to_do[0].settings.compute.workers), len(to_do))
        setup = {"num_workers": workers, "initializer": prepare_cpu, "initargs": (1,)}
        with bar(total=len(to_do), desc="picture", unit="run") as progress:
            for _ in map_unordered(visualize_run, to_do, **setup):
                progress.update(1)
    return to_do


def digest_of_inputs(run: TrainingRun) -> str:
    """What the pictures of a run depend on. Raises `UserError` when its embeddings are missing or older than its weights."""
    record = load_embeddings(run.files).record
    options, versions = asdict(run.settings.embedding_pictures), [version_of(name) for name in LIBRARIES]
    return digest_of_json([record, options, run.settings.seed, versions])


def visualize_run(run: TrainingRun) -> None:
    """Numbers, pictures and page of one run; its record last. Another process that makes the same is waited for."""
    with only_writer(run):
        if not is_drawn(run):
            _visualize(run)


def is_drawn(run: TrainingRun) -> bool:
    """Whether the pictures on disk are of the embeddings and settings at hand. Raises as `digest_of_inputs` does."""
    return read_pictures_record(run.files.embeddings).get("inputs") == digest_of_inputs(run)


def _visualize(run: TrainingRun) -> None:
    files, options, seed = run.files.embeddings, run.settings.embedding_pictures, run.settings.seed
    inputs = digest_of_inputs(run)
    vectors, index, num_rows = _chosen_rows(run)
    numbers = label_quality(vectors, index, options, seed)
    numbers.insert(0, "system", run.system)
    numbers.insert(1, "train", run.train_set)
    numbers.insert(2, "seed", run.seed)
    drawn = stratified_rows(index, options.max_points, seed, "picture")
    shown, is_fit = index.iloc[drawn], np.ones(len(drawn), dtype=bool)
    if options.fit_on == "train_dev":
        is_fit = (shown["split"] != "eval").to_numpy()
    projections = [project(name, vectors[drawn], is_fit, options, seed) for name in dict.fromkeys(options.projections)]
    colourings = [colouring_of(shown, label, run.settings.corpus.sources) for label in LABELS]
    with written_together(files.pictures_record):
        _write_tables(files, shown, projections, numbers)
        names = [files.points.name, files.numbers.name, files.page.name, *_write_pictures(run, projections, colourings, num_rows)]
        facts = {"weights": read_record(files)["weights"], "points": len(shown), "rows": num_rows, "seed": seed}
        write_json(files.pictures_record, {"inputs": inputs, **facts, "files": names})


def _chosen_rows(run: TrainingRun) -> tuple[np.ndarray, pd.DataFrame, int]:
    """Vectors (N, E) float32 and index lines of the variants that are shown, and how many rows there are of them.

    Of more rows than any number or picture takes only a draw is read: all of a large corpus need not fit into memory.
    """
    embeddings, options = load_embeddings(run.files), run.settings.embedding_pictures
    there = list(dict.fromkeys(embeddings.index["variant"]))
    if strange := [variant for variant in options.variants if variant not in there]:
        raise UserError(f"embedding_pictures.variants: {strange[0]!r} was not embedded; there are: {', '.join(there)}")
    index = embeddings.index[embeddings.index["variant"].isin(options.variants or there)]
    num_rows, most = len(index), max(options.max_rows, options.max_points, options.silhouette_points)
    index = index.iloc[stratified_rows(index, most, run.settings.seed, "rows")].reset_index(drop=True)
    return prepared(embeddings.array[index["row"].to_numpy()], options.metric), index, num_rows


def _write_tables(files: EmbeddingLayout, shown: pd.DataFrame, projections: Sequence[Projection], numbers: pd.DataFrame) -> None:
    points = shown[["row", "utt_id", "variant"]].reset_index(drop=True)
    for projection in projections:
        points[f"{projection.name}_x"], points[f"{projection.name}_y"] = projection.points.T
    with atomic_path(files.points) as partial:
        points.to_parquet(partial, index=False)
    write_frame(numbers, files.numbers)


def _write_pictures(run: TrainingRun, projections: Sequence[Projection], colourings: Sequence[Colouring], num_rows: int) -> list[str]:
    """A PNG file for each label that tells something, and the page; returns the names of the PNG files."""
    files, num_points = run.files.embeddings, len(projections[0].points)
    amount = f"{num_points} of {num_rows} rows" if num_points < num_rows else f"all {num_rows} rows"
    title = f"{run.system} trained on {run.train_set}, seed {run.seed}"
    distance = "cosine" if run.settings.embedding_pictures.metric == "cosine" else "Euclidean distance"
    pictures = []
    for colouring in colourings:
        path = files.picture(colouring.label)
        if colouring.tells:
            write_picture(path, projections, colouring, f"{title}: {amount}, {distance}")
            pictures.append(path.name)
        else:
            path.unlink(missing_ok=True)
    text = f"Each mark is the embedding of one utterance in one acoustic variant: {amount}. Like is what is near by {distance}."
    utt_ids, numbers = pd.read_parquet(files.points)["utt_id"], read_csv(files.numbers, texts=TEXTS)
    write_page(files.page, utt_ids, projections, colourings, title=f"Embeddings of {title}", text=text, numbers=numbers)
    return pictures


def numbers_of(runs: Sequence[TrainingRun]) -> pd.DataFrame:
    """numbers.csv of several runs, one below the other."""
    return pd.concat([read_csv(run.files.embeddings.numbers, texts=TEXTS) for run in runs], ignore_index=True)


def numbers_text(numbers: pd.DataFrame) -> str:
    """The numbers as lines for a terminal."""
    shown = numbers.drop(columns=["silhouette_rows"]).rename(columns={"knn_purity": "purity", "chance_purity": "chance"})
    return shown.to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep="-")
