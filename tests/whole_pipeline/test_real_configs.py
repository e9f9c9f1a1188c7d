"""The real configs, script to script, on miniature trees with the real names: every count of every script against the lists themselves."""

from __future__ import annotations

import json
import runpy
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.layout import Layout
from sourcetracing.settings.reading import read_config, read_yaml
from sourcetracing.training.runs import load_runs
from tests.support.audio_files import write_noises, write_responses
from tests.support.places import ROOT
from tests.support.real_layouts import MCL_LANGUAGES, MCL_SOURCES, write_author_lists, write_detection, write_mlaad
from tests.support.tiny_ssl import NUM_BLOCKS, save_tiny

TRAINED = "ar+de+en+fr+it+ko+lt+pl"
NARROW = "aasist: {channels: [4, 8], gat_dims: [8, 4]}"
QUICK = ["audio.crop_seconds=0.3", "train.epochs=1", "evaluation.bootstrap_samples=5", "compute.device=cpu", "compute.workers=2"]
QUICK += ["embedding_pictures.projections=[pca]"]


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a script of this repository on words, in this process; returns what it prints."""

    def run_one(script: str, words: list[str]) -> str:
        path = ROOT / script
        monkeypatch.syspath_prepend(path.parent)
        parts = runpy.run_path(str(path))
        config = read_config(words)
        parts["main"](config, {}) if "FLAGS" in parts else parts["main"](config)
        return capsys.readouterr().out

    return run_one


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("real")
    write_noises(root / "musan")
    write_responses(root / "RIRS_NOISES")
    for name in ("base", "ctc"):
        save_tiny({"base": "wav2vec2"}.get(name, name), root / name)
    return root


@pytest.fixture(scope="module")
def chosen(tree) -> dict[str, list[tuple[str, str, str]]]:
    """split -> (path, language, model) of the miniature MLAAD."""
    return write_mlaad(tree / "MLAADv5", tree / "lists.zip")


def words_for(tree: Path, config: str, exp: Path, systems: str) -> list[str]:
    (exp / "small.yaml").write_text(f"systems:\n{systems}\n")
    places = [f"paths.corpus={tree}/MLAADv5", f"paths.protocols={tree}/lists.zip", f"paths.musan={tree}/musan"]
    return [f"configs/{config}.yaml", str(exp / "small.yaml"), *places, f"paths.rirs={tree}/RIRS_NOISES", f"paths.exp={exp}", *QUICK]


def in_languages(rows: list[tuple[str, str, str]], test_set: str) -> list[tuple[str, str, str]]:
    return [row for row in rows if row[1] in test_set.split("+")]


def check_protocol(files: Layout, chosen: dict, num_unknown: int) -> None:
    """What script 02 left: splits, counts by language, classes."""
    protocol = pd.read_csv(files.protocol, keep_default_na=False)
    assert protocol["split"].value_counts().to_dict() == {split: len(rows) for split, rows in chosen.items()}
    assert set(protocol["utt_id"]) == {Path(path).with_suffix("").as_posix()[5:] for rows in chosen.values() for path, _, _ in rows}
    counts = pd.read_csv(files.counts, keep_default_na=False).set_index("language")
    for split, rows in chosen.items():
        assert {name: count for name, count in counts[split].items() if count and name != "total"} == Counter(row[1] for row in rows)
    labels = [line.split("|") for line in (files.root / "label_assignment.txt").read_text().splitlines()]
    assert Counter(kind.strip() for _, _, kind in labels) == {"ID": 24, "OOD": num_unknown}


def check_nothing_is_left_to_train(shown: str, system: str) -> None:
    """By the plan that script 05 prints: runs, done, to do."""
    [line] = [line.split() for line in shown.splitlines() if line.startswith(system)]
    assert line[1:4] == ["1", "1", "0"]


def check_scores(run_files, chosen: dict, known: set[str]) -> None:
    for split in ("dev", "eval"):
        scores = pd.read_parquet(run_files.scores(split))
        assert len(scores) == len(chosen[split])
        assert (scores["label"] >= 0).sum() == sum(row[2] in known for row in chosen[split])


def check_reports(files: Layout, config, chosen: dict, known: set[str], system: str) -> None:
    """What scripts 07 to 13 left."""
    openset = pd.read_csv(files.openset_table)
    for split, rows in ((split, openset[openset["split"] == split]) for split in ("dev", "eval")):
        counts = Counter(row[2] in known for row in chosen[split])
        assert set(rows["known"]) == {counts[True]} and set(rows["unknown"]) == {counts[False]}
    cells = pd.read_csv(files.tables / "table4.csv")
    cells = cells[(cells["system"] == system) & (cells["variant"] == "pooled")].set_index("test")
    for test_set in config.resolve().experiment.test_sets:
        tested = [row for row in in_languages(chosen["eval"], test_set) if row[2] in known]
        assert cells.loc[test_set, "n"] == len(tested)
        assert cells.loc[test_set, "num_classes"] == len({row[2] for row in tested})
    assert files.report.is_file()


BEHIND_TRAINING = ("06_get_classification_metrics", "07_ood_detector", "08_generate_embeddings", "09_visualize_embeddings")


@pytest.mark.slow
def test_refd_on_the_official_splits(tree, chosen, tmp_path, run):
    words = words_for(tree, "mlaad5_source_tracing", tmp_path, f"  w2v2_base_aasist: {{ssl: {{model: {tree}/base, layer: 2}}, {NARROW}}}")
    config, known = read_config(words), {row[2] for row in chosen["train"]}
    files = Layout.of(config.resolve())
    total = sum(map(len, chosen.values()))
    assert f"complete: {total} utterances" in run("scripts/01_download_resources.py", words)
    run("scripts/02_build_protocols.py", words)
    check_protocol(files, chosen, num_unknown=58)
    assert f"{total} utterances x 5 variants" in run("scripts/04_preprocess_dataset.py", words)
    run("train_refd.py", words)
    check_nothing_is_left_to_train(run("scripts/05_train_matrix.py", words), "w2v2_base_aasist")
    trained, floor = load_runs(config)
    assert floor.system == "stats_logreg" and floor.files.is_finished
    outcome = trained.files.read_outcome()
    assert trained.train_set == TRAINED
    assert outcome["num_train_rows"] == 5 * len(chosen["train"])
    assert outcome["num_dev_rows"] == sum(row[2] in known for row in chosen["dev"])  # by label alone, clean
    assert len({row[1] for row in chosen["dev"] if row[2] in known} - set(TRAINED.split("+"))) > 0
    for script in BEHIND_TRAINING:
        run(f"scripts/{script}.py", words)
    check_scores(trained.files, chosen, known)
    embeddings = json.loads(trained.files.embeddings.record.read_text())
    assert embeddings["rows_of_split"] == {"train": 5 * len(chosen["train"]), "dev": len(chosen["dev"]), "eval": len(chosen["eval"])}
    assert (embeddings["sources"], embeddings["unknown_sources"]) == (82, 58)
    run("scripts/13_make_tables.py", words)
    check_reports(files, config, chosen, known, "w2v2_base_aasist")


@pytest.mark.slow
@pytest.mark.parametrize("overlay", [[], ["configs/as_published/published_ge2e.yaml"]], ids=["ours", "published"])
def test_ge2e_on_the_official_splits(tree, chosen, tmp_path, run, overlay):
    words = words_for(
        tree, "ge2e", tmp_path, f"  w2v2_base_ge2e: {{ssl: {{model: {tree}/ctc}}, metric_learning: {{batches_per_epoch: 2}}}}"
    )
    words = [words[0], *overlay, *words[1:]]
    config, known = read_config(words), {row[2] for row in chosen["train"]}
    files = Layout.of(config.resolve())
    for script in ("02_build_protocols", "04_preprocess_dataset"):
        run(f"scripts/{script}.py", words)
    check_protocol(files, chosen, num_unknown=58)
    words += ["metric_learning.rows_per_class=2"] if overlay else []  # dev has two files of some models here
    assert str(load_runs(read_config(words))[0].folder) in run("train_ge2e.py", words)
    check_nothing_is_left_to_train(run("scripts/05_train_matrix.py", words), "w2v2_base_ge2e")
    trained, floor = load_runs(read_config(words))
    assert floor.system == "stats_logreg" and floor.files.is_finished
    outcome, num_known_dev = trained.files.read_outcome(), sum(row[2] in known for row in chosen["dev"])
    assert (trained.train_set, trained.seed) == (TRAINED, 42)
    assert outcome["num_train_rows"] == len(chosen["train"]) + (len(chosen["dev"]) if overlay else 0)
    assert outcome["num_dev_rows"] == num_known_dev
    for script in BEHIND_TRAINING:
        run(f"scripts/{script}.py", words)
    run("scripts/11_audit_shortcuts.py", words)
    run("scripts/13_make_tables.py", words)
    check_scores(trained.files, chosen, known)
    config = read_config(words)
    check_reports(Layout.of(config.resolve()), config, chosen, known, "w2v2_base_ge2e")


@pytest.mark.slow
def test_the_multilingual_benchmark(tree, chosen, tmp_path, run):
    small = f"  lfcc_aasist: {{{NARROW}}}\n  lfcc_resnet18: {{resnet18: {{width: 4}}}}\n  lfcc_ecapa_tdnn: {{ecapa_tdnn: {{channels: 8}}}}"
    words = [*words_for(tree, "mcl_mlaad", tmp_path, small), "mcl_mlaad.published_counts=false"]
    config, cells = read_config(words), Counter(row[1:] for rows in chosen.values() for row in rows)
    cells = {cell: count for cell, count in cells.items() if cell[0] in MCL_LANGUAGES and cell[1] in MCL_SOURCES}
    assert len(cells) == 24
    files = Layout.of(config.resolve())
    assert f"complete: {sum(cells.values())} utterances" in run("scripts/01_download_resources.py", words)
    run("scripts/02_build_protocols.py", words)
    counts = pd.read_csv(files.counts).set_index("language")
    assert {(language, source): counts.loc[language, source] for language, source in cells} == cells
    split_of = pd.read_csv(files.protocol).set_index("utt_id")["split"]
    assert f"{sum(cells.values())} utterances x 5 variants" in run("scripts/04_preprocess_dataset.py", words)
    run("scripts/05_train_matrix.py", words)
    runs = load_runs(config)
    assert len(runs) == (3 + 1) * 6
    for one in runs:
        own = split_of[split_of.index.str.startswith(f"{one.train_set}/")].value_counts()
        outcome = one.files.read_outcome()
        assert (outcome["num_train_rows"], outcome["num_dev_rows"]) == (5 * own["train"], 5 * own["dev"])
    for script in ("06_get_classification_metrics", "11_audit_shortcuts", "13_make_tables"):
        run(f"scripts/{script}.py", words)
    table = pd.read_csv(files.tables / "table4.csv")
    pooled = table[table["variant"] == "pooled"]
    assert len(pooled) == (3 + 1) * 6 * 6  # with the floor
    for language, rows in pooled.groupby("test"):
        own = split_of[split_of.index.str.startswith(f"{language}/")]
        assert set(rows["n"]) == {5 * (own == "eval").sum()}


DETECTION = (
    "01_extract_layers",
    "02_layer_sweep",
    "03_augmented_baseline",
    "04_dataset_mixing",
    "05_pruning",
    "06_augment_pruned",
    "07_report",
)
SUBSETS_OF_CORPUS = {"asv19": 3, "asv5": 2}
# What stands before a path in the tree, and not in the authors' lists.
BEFORE = {"for": "for-norm/for-norm/", "timit": "CLEAN/"}


def detection_words(root: Path, exp: Path, encoder: Path, origin: str) -> list[str]:
    corpora = ("asv19", "asv21", "asv5", "for", "itw", "mailabs", "mlaad", "odss", "timit", "ai4trust")
    places = [f"detection.roots={{{', '.join(f'{corpus}: {root}/{corpus}' for corpus in corpora)}}}", f"paths.exp={exp}"]
    lists = [f"detection.lists={root}/lists"]
    small = [
        f"ssl.model={encoder}",
        "layer_features.copy_layers=[]",
        "compute.device=cpu",
        "compute.workers=2",
        "logreg.c=1",
        "audio.min_seconds=0.1",
    ]
    return ["configs/ai4t.yaml", f"detection.origin={origin}", *places, *lists, *small, "pruning.fractions=[0.3,0.6]", "pruning.seeds=[1]"]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> tuple[Path, dict[str, list[tuple[str, str, str]]]]:
    root = tmp_path_factory.mktemp("ai4t")
    found = write_detection(root)
    write_author_lists(root / "lists", found, BEFORE)
    return root, found


def check_manifest(settings, found: dict) -> pd.DataFrame:
    manifest = pd.read_csv(DetectionLayout(settings).manifest, keep_default_na=False)
    assert set(manifest["corpus"]) == set(found)
    for subset, rows in manifest.groupby("corpus", sort=False):
        expected = found[subset]
        assert list(zip(rows["path"], rows["label"], strict=True)) == [row[:2] for row in expected]
        groups = [group or file_id for (_, _, group), file_id in zip(expected, rows["file_id"], strict=True)]
        assert rows["group"].tolist() == groups
    return manifest


def test_the_authors_lists_and_the_layouts_are_the_same_files(corpora, tmp_path, run):
    root, found = corpora
    rows = {}
    for origin in ("layout", "lists"):
        words = detection_words(root, tmp_path / origin, root, origin)
        if origin == "layout":
            write_segments(root, found)
        else:
            (root / "ai4trust" / "segments.csv").unlink()
        shown = run("scripts/detection/00_build_manifest.py", words)
        rows[origin] = check_manifest(read_config(words).resolve(), found)
        assert ("timit: 4 rows repeat a file, dropped" in shown) == (origin == "lists")
    pd.testing.assert_frame_equal(
        rows["layout"][["file_id", "path", "label", "speaker", "group"]],
        rows["lists"][list(rows["lists"])][["file_id", "path", "label", "speaker", "group"]],
    )


def write_segments(root: Path, found: dict) -> None:
    """The list that segment_recordings.py would have left."""
    lines = [f"{path},{label},,{group}" for path, label, group in found["ai4trust"]]
    (root / "ai4trust" / "segments.csv").write_text("\n".join(["path,label,speaker,recording", *lines]) + "\n")


@pytest.mark.slow
def test_detection_from_the_layouts_to_the_report(corpora, tmp_path, run):
    root, found = corpora
    write_segments(root, found)
    words = detection_words(root, tmp_path, save_tiny("xls-r", tmp_path / "encoder"), "layout")
    settings = read_config(words).resolve()
    layout = DetectionLayout(settings)
    run("scripts/detection/00_build_manifest.py", words)
    manifest = check_manifest(settings, found)
    for script in DETECTION:
        run(f"scripts/detection/{script}.py", words)
    sizes = manifest["corpus"].value_counts().to_dict()
    stores = {}
    for path in layout.features.iterdir():
        subset, copy, _ = path.name.split("-")
        facts = json.loads((path / "store.json").read_text())
        stores.setdefault(copy, {})[subset] = (len(pd.read_csv(path / "index.csv")), facts["layers"])
    layers = list(range(NUM_BLOCKS + 1))
    assert stores["clean"] == {subset: (size, layers) for subset, size in sizes.items()}
    parts = pd.concat(pd.read_csv(path) for path in layout.augment_pruned.glob("*/parts.csv"))
    for copy in ("rawboost", "codec"):
        drawn = parts[(parts["copy"] == copy) & ~parts["corpus"].isin(["asv19_train", "asv19_dev"])]["corpus"].value_counts().to_dict()
        [layer] = {tuple(facts[1]) for subset, facts in stores[copy].items() if subset in drawn} or {()}
        baseline = {subset: (sizes[subset], layers) for subset in ("asv19_train", "asv19_dev")}
        assert stores[copy] == {**baseline, **{subset: (count, list(layer)) for subset, count in drawn.items()}}
    mixing = pd.read_csv(layout.table("dataset_mixing")).set_index("mixture")
    members = {name: sum(sizes[subset] for subset in subsets) for name, subsets in settings.detection.sets.items()}
    assert len(mixing) == 127
    assert all(files == sum(members[name] for name in mixture.split("+")) for mixture, files in mixing["files"].items())
    whole = pd.read_csv(layout.table("pruning")).query("list == 'everything'")
    assert set(whole["kept"]) == {sum(members[name] for name in settings.detection.train)}
    sweep = pd.read_csv(layout.table("layer_sweep"))
    own = sweep[(sweep["part"] == "all") & sweep["dataset"].isin(["ITW", "AI4T"])]
    assert set(map(tuple, own[["dataset", "files"]].drop_duplicates().to_numpy())) == {("ITW", sizes["itw"]), ("AI4T", sizes["ai4trust"])}
    assert layout.report.is_file() and "Not so" not in layout.report.read_text()
    assert read_yaml(ROOT / "configs/ai4t.yaml")["layer_features"]["copies"] == ["clean", "rawboost", "codec"]
