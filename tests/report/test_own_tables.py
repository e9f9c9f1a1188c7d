"""A table of one's own, from its YAML file alone: what the paper's table of its shape gets, under its own name, with the right figures."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from sourcetracing.report import experiment as experiment_report
from tests.support.fake_scores import ResolvedSources, fake_runs, fake_settings, trained_run

SYSTEMS, LANGUAGES, SEEDS = ["lfcc_ecapa_tdnn", "lfcc_aasist"], ["en", "de", "fr"], [1, 2]
FAMILIES = {"West": ["en", "de"], "South": ["fr", "it"]}  # it: not in this corpus
KEY = ["system", "train", "test", "variant", "seed"]
OF_SHAPE = ["{}.csv", "{}.md", "{}.tex", "{}_means.csv", *(f"{{}}_{system}_matrix.png" for system in SYSTEMS)]
WITH_DETAILS = [
    *OF_SHAPE,
    "{}_per_class.csv",
    "{}_confusion.csv",
    "{}_variants.png",
    *(f"{{}}_{system}_confusion.png" for system in SYSTEMS),
]


def reported(folder, *tables: str):
    """The folder of an experiment with these tables, and its scores by (system, training set, seed)."""
    settings = fake_settings(languages=LANGUAGES, systems=SYSTEMS, seeds=SEEDS)
    settings.paths.exp, settings.evaluation.bootstrap_samples = str(folder), 100
    settings.experiment.tables, settings.experiment.families = list(tables), FAMILIES
    runs = fake_runs(settings, folder / settings.name / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment_report, "load_runs", lambda config: [trained_run(run, settings) for run in runs])
        experiment_report.report_experiment(ResolvedSources(settings))
    return folder / settings.name, {(run.system, run.train_set, run.seed): run.scores for run in runs}


@pytest.fixture(scope="module")
def yaml_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("yaml")
    for name, rule in {"mine": "languages", "my_families": "families"}.items():
        (folder / f"{name}.yaml").write_text(f"title: {name} by <rule>\ntrain_sets: {rule}\ntest_sets: {rule}\n")
    return [str(folder / "mine.yaml"), str(folder / "my_families.yaml")]


@pytest.fixture(scope="module")
def alone(yaml_files, tmp_path_factory):
    return reported(tmp_path_factory.mktemp("alone"), *yaml_files)


@pytest.fixture(scope="module")
def beside(yaml_files, tmp_path_factory):
    return reported(tmp_path_factory.mktemp("beside"), "table4", "figure4", *yaml_files)


def rows_of(scores: pd.DataFrame, test: str, variant: str) -> pd.DataFrame:
    rows = scores[scores["language"].isin(test.split("+"))]
    return rows if variant == "pooled" else rows[rows["variant"] == variant]


def test_every_file_of_its_shape_is_there_and_none_takes_the_papers_names(alone):
    names = {path.name for path in (alone[0] / "tables").iterdir()}
    wanted = {pattern.format("mine") for pattern in WITH_DETAILS} | {pattern.format("my_families") for pattern in OF_SHAPE}
    shared = {
        "claims.csv",
        "significance.csv",
        "rank_stability.csv",
        *("hierarchy.csv", "hierarchy_means.csv", "hierarchy.md"),
        "floor.csv",
        "made_with.json",
        *(f"{system}_curves.png" for system in SYSTEMS),
    }
    assert names == wanted | shared


@pytest.mark.parametrize(("own", "papers", "patterns"), [("mine", "table4", WITH_DETAILS), ("my_families", "figure4", OF_SHAPE)])
def test_it_gets_what_the_papers_table_of_its_shape_gets(beside, own, papers, patterns):
    for pattern in patterns:
        name = pattern.format(papers)
        if papers == "table4" and pattern.startswith("{}_"):
            name = name.removeprefix("table4_")
        one, other = ((beside[0] / "tables" / file).read_bytes() for file in (name, pattern.format(own)))
        assert one.splitlines()[1:] == other.splitlines()[1:] if name.endswith(".md") else one == other, name  # a title is its own


@pytest.mark.parametrize("name", ["mine", "my_families"])
def test_cells_and_means_are_those_of_the_scores(alone, name):
    folder, scores_of = alone
    cells = pd.read_csv(folder / "tables" / f"{name}.csv")
    sets = LANGUAGES if name == "mine" else ["en+de", "fr"]
    assert set(zip(cells["train"], cells["test"], strict=True)) == {(train, test) for train in sets for test in sets}
    assert len(cells) == len(SYSTEMS) * len(sets) ** 2 * 3 * len(SEEDS)
    for row in cells.itertuples():
        rows = rows_of(scores_of[row.system, row.train, row.seed], row.test, row.variant)
        assert row.macro_f1 == pytest.approx(f1_score(rows["label"], rows["prediction"], average="macro"), abs=1e-6)
    cells["kind"] = np.where(cells["train"] == cells["test"], "mono", "cross")
    by_seed = cells.groupby(["system", "kind", "variant", "seed"])["macro_f1"].mean()
    expected = by_seed.groupby(["system", "kind", "variant"]).agg(["mean", "std"])
    means = pd.read_csv(folder / "tables" / f"{name}_means.csv").set_index(["system", "kind", "variant"])
    assert len(means) == len(expected)
    np.testing.assert_allclose(means.loc[expected.index, ["macro_f1", "sd"]], expected, atol=2e-6)


def test_confusions_and_classes_are_those_of_the_scores(alone):
    folder, scores_of = alone
    counts = pd.read_csv(folder / "tables" / "mine_confusion.csv").groupby(KEY, sort=False)["count"].agg(list)
    classes = pd.read_csv(folder / "tables" / "mine_per_class.csv").groupby(KEY, sort=False)[["precision", "recall", "f1", "support"]]
    assert len(counts) == len(classes) == len(SYSTEMS) * 9 * 3 * len(SEEDS)
    for key, figures in classes:
        system, train, test, variant, seed = key
        rows = rows_of(scores_of[system, train, seed], test, variant)
        assert counts[key] == confusion_matrix(rows["label"], rows["prediction"], labels=range(4)).ravel().tolist()
        expected = precision_recall_fscore_support(rows["label"], rows["prediction"], labels=range(4), zero_division=0)
        np.testing.assert_allclose(figures.to_numpy(), np.transpose(expected), atol=1e-6)


def test_text_shows_the_figures(alone):
    cells = pd.read_csv(alone[0] / "tables" / "mine.csv")
    pooled = cells[cells["variant"] == "pooled"].groupby(["system", "train", "test"])["macro_f1"].agg(["mean", "std"])
    shown = {cell: f"{100 * row['mean']:.1f} ± {100 * row['std']:.1f}" for cell, row in pooled.iterrows()}
    markdown, latex = ((alone[0] / "tables" / f"mine.{kind}").read_text(encoding="utf-8") for kind in ("md", "tex"))
    texts = [f"**{text}**" if train == test else text for (_, train, test), text in shown.items()]
    assert all(f"| {text} |" in markdown for text in texts)
    assert all(text.replace(" ± ", "\\,$\\pm$\\,") in latex for text in shown.values())
    assert "| lfcc_aasist | en+de |" in (alone[0] / "tables" / "my_families.md").read_text(encoding="utf-8")


def test_claims_are_held_against_it(alone, beside):
    claims = pd.read_csv(alone[0] / "tables" / "claims.csv")
    for name, text in {
        "mine": "a known language is easier than another one",
        "my_families": "a known family is easier than another one",
    }.items():
        own = claims[claims["claim"] == text].set_index("first")
        means = (
            pd.read_csv(alone[0] / "tables" / f"{name}_means.csv").query("variant == 'pooled'").set_index(["system", "kind"])["macro_f1"]
        )
        assert set(own["table"]) == {name}
        for system in SYSTEMS:
            assert own.loc[f"{system} mono", "difference"] == pytest.approx(means[system, "mono"] - means[system, "cross"], abs=2e-6)
    assert claims.query("outcome == 'not tested'")["table"].isin(["table4", "mine", "table5", "table6"]).all()
    both = pd.read_csv(beside[0] / "tables" / "claims.csv")
    one, other = (both[both["table"] == table].drop(columns="table").reset_index(drop=True) for table in ("table4", "mine"))
    pd.testing.assert_frame_equal(one, other)


def test_systems_are_compared_in_it(alone):
    significance = pd.read_csv(alone[0] / "tables" / "significance.csv")
    assert significance["table"].value_counts().to_dict() == {"mine": 9, "my_families": 4}
    cells = (
        pd.read_csv(alone[0] / "tables" / "mine.csv").query("variant == 'pooled'").groupby(["system", "train", "test"])["macro_f1"].mean()
    )
    for row in significance[significance["table"] == "mine"].itertuples():
        difference = cells[row.system, row.train, row.test] - cells[row.other, row.train, row.test]
        assert row.difference == pytest.approx(difference, abs=2e-6)
    assert set(pd.read_csv(alone[0] / "tables" / "rank_stability.csv")["table"]) == {"mine", "my_families"}


def test_its_tab_has_the_sections_of_its_shape(beside):
    page = (beside[0] / "report.html").read_text(encoding="utf-8")
    titles = re.findall(r'name="tab" id="t\d+"(?: checked)?><label for="t\d+">([^<]+)', page)
    assert titles[:4] == ["Table 4", "Families", "mine by &lt;rule&gt;", "my_families by &lt;rule&gt;"]
    tabs = page.split('<div class="tab ')[1:5]
    sections = [re.findall("<h2>([^<]+)", tab) for tab in tabs]
    assert sections[2] == sections[0] and {"What is taken for what", "By source", "By acoustic variant"} <= set(sections[2])
    figures = [re.findall(r"<b>([\d.]+)</b>", tab) for tab in tabs]
    assert figures[2] == figures[0] and figures[3] == figures[1] and len(figures[3]) >= 2 * 4
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert ">West<" in tabs[2] and ">South<" in tabs[2] and "Germanic" not in page
