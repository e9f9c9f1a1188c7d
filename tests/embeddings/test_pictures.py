"""Projections, numbers, PNG files and the page that explores embeddings."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from sourcetracing.embeddings.collecting import collect_embeddings
from sourcetracing.embeddings.colouring import GREY, LABELS, NUM_STYLES, colouring_of
from sourcetracing.embeddings.page import write_page
from sourcetracing.embeddings.pictures import draw_picture, write_picture
from sourcetracing.embeddings.projections import Projection, prepared, project
from sourcetracing.embeddings.quality import chance_purity, label_quality, nearest_others, purity, silhouette
from sourcetracing.embeddings.sampling import stratified_rows
from sourcetracing.embeddings.visualizing import digest_of_inputs, numbers_of, visualize_run, visualize_runs
from sourcetracing.errors import UserError
from sourcetracing.report.embeddings_tab import embeddings_tab, read_runs
from sourcetracing.settings.embeddings import EmbeddingPictures
from sourcetracing.settings.reading import load_settings
from tests.support.embedded_run import modification_times, score_here, write_trained_run
from tests.support.web_pages import Page, browser_width, dump_dom, needs_chromium


def made_up(num_utterances=60, num_sources=5, variants=("original", "noise")):
    """Vectors (N, 6) that gather by source, and their index."""
    generator = np.random.default_rng(2)
    rows = [
        {
            "utt_id": f"{language}/source{n % num_sources}/<i>{n}",
            "split": ("train", "dev", "eval")[n // 7 % 3],
            "variant": variant,
            "language": language,
            "source": f"source{n % num_sources}",
            "speaker": "" if n % 2 else f"speaker{n % 3}",
            "pseudo_speaker": "",
            "known": n % num_sources < 3,
        }
        for n in range(num_utterances)
        for language in [("en", "de")[n // 5 % 2]]
        for variant in variants
    ]
    index = pd.DataFrame(rows).assign(row=range(len(rows)))
    centres = generator.normal(size=(num_sources, 6)) * 4
    codes = index["source"].str.removeprefix("source").astype(int)
    return (centres[codes] + generator.normal(size=(len(index), 6))).astype(np.float32), index


# --- numbers


def test_purity_counts_neighbours_of_other_utterances_alone():
    vectors = np.array([[0.0], [0.0], [1.0], [1.1], [5.0]], dtype=np.float32)
    utterances = np.array([0, 0, 1, 2, 3])
    nearest = nearest_others(vectors, utterances, 2)
    assert nearest.shape == (5, 2)
    assert set(nearest[0]) == set(nearest[1]) == {2, 3}
    assert all(utterances[j] != utterances[i] for i, row in enumerate(nearest) for j in row)
    codes = np.array([0, 0, 0, 1, 1])
    assert purity(codes, nearest) == np.mean([codes[j] == codes[i] for i, row in enumerate(nearest) for j in row])


def test_nearest_are_those_of_all_distances():
    vectors, index = made_up()
    utterances = pd.factorize(index["utt_id"])[0]
    nearest = nearest_others(vectors, utterances, 7)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    distances[utterances[:, None] == utterances] = np.inf
    expected = np.sort(distances, axis=1)[:, :7]
    np.testing.assert_allclose(np.take_along_axis(distances, nearest, axis=1), expected, rtol=1e-4)


def test_chance_is_the_mean_over_all_admissible_pairs():
    _, index = made_up(20)
    for label in ("source", "variant", "known"):
        codes, utterances = (pd.factorize(index[column])[0] for column in (label, "utt_id"))
        shares = [(codes[utterances != u] == c).mean() for c, u in zip(codes, utterances, strict=True)]
        assert chance_purity(codes, utterances) == pytest.approx(np.mean(shares))


def test_numbers_tell_what_embeddings_gather_by():
    vectors, index = made_up()
    table = label_quality(vectors, index, EmbeddingPictures(), 1).set_index(["rows_of", "label"])
    assert set(table.index.get_level_values("label")) == {"source", "language", "speaker", "split", "known", "variant"}
    assert ("eval", "split") not in table.index
    assert table.loc[("all", "source"), "knn_purity"] > 0.95
    assert table.loc[("all", "source"), "silhouette"] > 0.4
    assert table.loc[("all", "language"), "silhouette"] < 0.1
    assert abs(table.loc[("all", "variant"), "knn_purity"] - table.loc[("all", "variant"), "chance_purity"]) < 0.1
    assert table.loc[("all", "speaker"), "rows"] == (index["speaker"] != "").sum()
    assert table.loc[("eval", "source"), "rows"] == (index["split"] == "eval").sum()


def test_noise_is_as_pure_as_chance():
    _, index = made_up(300)
    vectors = np.random.default_rng(0).normal(size=(len(index), 4)).astype(np.float32)
    table = label_quality(vectors, index, EmbeddingPictures(), 1)
    assert (table["knn_purity"] - table["chance_purity"]).abs().max() < 0.06


def test_silhouette_without_meaning_is_absent():
    vectors = np.eye(4, dtype=np.float32)
    assert np.isnan(silhouette(vectors, np.zeros(4, dtype=int)))
    assert np.isnan(silhouette(vectors, np.arange(4)))


# --- draws and projections


def test_a_draw_keeps_the_shares_and_depends_on_the_seed():
    _, index = made_up(500)
    rows = stratified_rows(index, 100, 1, "picture")
    assert len(set(rows)) == 100
    for column in ("split", "source", "known"):
        shares, drawn = (table[column].value_counts(normalize=True).sort_index() for table in (index, index.iloc[rows]))
        np.testing.assert_allclose(drawn, shares, atol=0.03)
    np.testing.assert_array_equal(rows, stratified_rows(index, 100, 1, "picture"))
    assert set(rows) != set(stratified_rows(index, 100, 2, "picture"))
    assert len(stratified_rows(index, 5000, 1, "picture")) == len(index)


def test_eval_does_not_shape_what_is_fitted_on_train_and_dev():
    vectors, index = made_up()
    is_fit = (index["split"] != "eval").to_numpy()
    moved = np.where(is_fit[:, None], vectors, vectors * 3 + 1)
    options = EmbeddingPictures()
    first, second = (project("pca", each, is_fit, options, 1) for each in (vectors, moved))
    np.testing.assert_allclose(first.points[is_fit], second.points[is_fit], atol=1e-4)
    assert not np.allclose(first.points[~is_fit], second.points[~is_fit], atol=1e-2)
    assert "eval transformed" in first.note
    assert "all points" in project("pca", vectors, np.ones(len(vectors), dtype=bool), options, 1).note


def test_tsne_is_seeded():
    vectors, index = made_up(20)
    everything = np.ones(len(vectors), dtype=bool)
    first, again = (project("tsne", vectors, everything, EmbeddingPictures(), 1).points for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_vectors_get_unit_length_for_cosine_alone():
    vectors = np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float16)
    np.testing.assert_allclose(prepared(vectors, "cosine"), [[0.6, 0.8], [0, 0]], rtol=1e-6)
    np.testing.assert_array_equal(prepared(vectors, "euclidean"), vectors)
    with pytest.raises(UserError, match="not finite"):
        prepared(np.array([[np.nan, 1.0]]), "cosine")


def test_too_few_points_and_unknown_names_get_one_clear_line():
    with pytest.raises(UserError, match="3 embeddings are too few"):
        project("pca", np.eye(3, dtype=np.float32), np.ones(3, dtype=bool), EmbeddingPictures(), 1)
    with pytest.raises(UserError, match="embedding_pictures.projections.*umpa"):
        load_settings(["embedding_pictures.projections=[umpa]"])


# --- pictures and page


def test_82_sources_all_look_different():
    index = made_up(164, num_sources=82)[1]
    colouring = colouring_of(index, "source", [f"source{n}" for n in range(82)])
    assert len({(style % 12, style % 7) for style in colouring.styles}) == 82
    assert [colouring.values[code] for code in colouring.codes] == list(index["source"])
    figure = draw_picture([Projection("pca", np.zeros((len(index), 2)), "")], colouring, "x")
    assert len(figure.legends[0].get_texts()) == 82
    figure.canvas.draw()
    legend, panel = figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()
    assert legend.y1 <= panel.y0
    assert 0 <= legend.x0 <= legend.x1 <= figure.bbox.width


def test_of_too_many_values_the_rarest_stay_grey():
    index = pd.DataFrame({"speaker": [f"speaker{n % 100}" for n in range(100)] + [f"speaker{n}" for n in range(NUM_STYLES)] + [""]})
    colouring = colouring_of(index, "speaker", [])
    grey = {value for value, style in zip(colouring.values, colouring.styles, strict=True) if style == GREY}
    assert grey == {f"speaker{n}" for n in range(NUM_STYLES, 100)}
    assert colouring.codes[-1] == -1


def test_pictures_are_the_same_bytes_again(tmp_path):
    vectors, index = made_up()
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, [Projection("pca", vectors[:, :2], "x; y")], colouring_of(index, "source", []), "title")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    vectors, index = made_up()
    path = tmp_path_factory.mktemp("page") / "report.html"
    projections = [Projection(name, vectors[:, first : first + 2], "a note") for name, first in (("pca", 0), ("umap", 2))]
    colourings = [colouring_of(index, label, []) for label in LABELS]
    numbers = label_quality(vectors, index, EmbeddingPictures(), 1).assign(system="lfcc", train="en", seed=1)
    write_page(path, index["utt_id"], projections, colourings, title="a </script> & b", text="<b>", numbers=numbers)
    return path, index, vectors


def test_page_loads_nothing_and_holds_every_point(page):
    text = page[0].read_text(encoding="utf-8")
    parsed = Page(text)
    assert all(value.startswith("data:") for value in parsed.loads)
    assert not re.search(r"(src|href)=.?https?:|@import|url\(|fetch\(|XMLHttpRequest", text)
    assert text.count("</script>") == 2
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', text, re.S)[1])
    source = next(label for label in data["labels"] if label["name"] == "source")
    shown = sorted((utt_id, source["values"][code]) for utt_id, code in zip(data["ids"], source["codes"], strict=True))
    assert shown == sorted(zip(page[1]["utt_id"], page[1]["source"], strict=True))
    assert not next(label for label in data["labels"] if label["name"] == "pseudo-speaker")["tells"]


def test_page_keeps_shapes(page):
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', page[0].read_text(encoding="utf-8"), re.S)[1])
    at = {}
    for number, utt_id in enumerate(data["ids"]):
        at.setdefault(utt_id, []).append((data["projections"][0]["x"][number], -data["projections"][0]["y"][number]))
    first, second = page[1]["utt_id"].unique()[[0, 1]]
    for utt_id in (first, second):
        expected = page[2][(page[1]["utt_id"] == utt_id).to_numpy(), :2]
        shown = np.array(sorted(at[utt_id]), dtype=float)
        expected = expected[np.lexsort(expected.T[::-1])]
        ratio = np.linalg.norm(shown[0] - shown[1]) / np.linalg.norm(expected[0] - expected[1])
        span = (page[2][:, :2].max(axis=0) - page[2][:, :2].min(axis=0)).max()
        assert ratio == pytest.approx(20000 / span, rel=0.02)


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("width", [380, 1400])
def test_browser_lays_it_out_without_overflow_or_complaint(page, width):
    assert browser_width(page[0].parent, width) == (width, "")


@needs_chromium
@pytest.mark.slow
def test_browser_shows_what_is_pointed_at_zooms_and_recolours(page):
    script = """
      const inside = frames[0], root = inside.document.documentElement, canvas = inside.document.getElementById('canvas');
      const box = canvas.getBoundingClientRect(), said = [];
      const set = (id, value, kind) => {
        const e = inside.document.getElementById(id); e.value = value; e.dispatchEvent(new inside.Event(kind));
      };
      const tip = inside.document.getElementById('tip');
      const point = (x, y) => canvas.dispatchEvent(new inside.PointerEvent('pointermove', {clientX: x, clientY: y, pointerType: 'mouse'}));
      (async () => {
        while (!root.dataset.drawn) await new Promise(done => setTimeout(done, 20));
        inside.requestAnimationFrame = draw => draw();  // from here on at once
        said.push(root.dataset.drawn);
        for (let y = 5; y < box.height && tip.hidden; y += 9)
          for (let x = 5; x < box.width && tip.hidden; x += 9) point(box.left + x, box.top + y);
        said.push(tip.textContent);
        canvas.dispatchEvent(new inside.WheelEvent('wheel', {deltaY: -500, clientX: 100, clientY: 300, cancelable: true}));
        said.push(root.dataset.zoom);
        inside.document.getElementById('reset').click();
        said.push(root.dataset.zoom);
        set('label', '1', 'change');
        said.push(inside.document.getElementById('legend').textContent);
        inside.document.querySelector('#legend button').click(); said.push(root.dataset.drawn);
        set('search', 'source3', 'input'); said.push(root.dataset.drawn);
        document.getElementById('said').textContent = said.join('|');
      })();"""
    frame = page[0].parent / "try.html"
    frame.write_text(
        f'<p id="said"></p><script>function go() {{{script}}}</script><iframe src="report.html" width="900" height="900" onload="go()">'
    )
    text, console = dump_dom(frame, page[0].parent)
    drawn, tip, zoomed, reset, legend, alone, found = re.search(r'<p id="said">(.*?)</p>', text)[1].split("|")
    index = page[1]
    assert int(drawn) == len(index)
    utt_id = re.match(r"(\w+/source\d/)&lt;i&gt;(\d+?)source source\d", tip)
    assert utt_id, tip
    row = index[index["utt_id"] == f"{utt_id[1]}<i>{utt_id[2]}"].iloc[0]
    assert f"source {row['source']}language {row['language']}" in tip
    assert f"split {row['split']}" in tip
    assert float(zoomed) > 1.5
    assert float(reset) == 1
    counts = index["language"].value_counts()
    assert legend == f"de{counts['de']}en{counts['en']}"
    assert int(alone) == counts["de"]
    assert int(found) == ((index["language"] == "de") & (index["source"] == "source3")).sum()
    assert console == ""


# --- a run


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    run = write_trained_run(tmp_path_factory.mktemp("drawn"))
    with pytest.raises(UserError, match=r"holds no embeddings\. Run: python scripts/08_generate_embeddings\.py"):
        visualize_runs([run])
    score_here(run)
    collect_embeddings([run])
    visualize_run(run)
    return run


def test_a_run_gets_its_pictures_numbers_and_page(drawn):
    folder = drawn.files.embeddings
    names = {path.name for path in folder.root.glob("by_*.png")}
    assert names == {f"by_{label}.png" for label in ("source", "language", "speaker", "split", "known", "variant")}
    assert {"pca_x", "pca_y", "tsne_x", "tsne_y"} <= set(pd.read_parquet(folder.points))
    assert "source2" in folder.page.read_text(encoding="utf-8")
    numbers = numbers_of([drawn])
    assert (numbers["train"] == "en+de").all()
    assert numbers["knn_purity"].between(0, 1).all()
    known = numbers[(numbers["label"] == "known") & (numbers["rows_of"] == "all")]
    assert known["values"].item() == 2


def test_a_second_run_draws_nothing(drawn):
    before = modification_times(drawn.folder)
    assert visualize_runs([drawn]) == []
    assert modification_times(drawn.folder) == before


def test_other_settings_are_other_pictures(drawn, monkeypatch):
    before = digest_of_inputs(drawn)
    monkeypatch.setattr(drawn.settings.embedding_pictures, "max_points", 20)
    assert digest_of_inputs(drawn) != before


def test_a_variant_that_was_not_embedded_is_named(drawn, monkeypatch):
    monkeypatch.setattr(drawn.settings.embedding_pictures, "variants", ["reverbs"])
    with pytest.raises(UserError, match="'reverbs' was not embedded; there are: original"):
        visualize_run(drawn)


def test_report_tab_shows_runs_whose_pictures_belong_to_their_weights(drawn, tmp_path):
    run = (drawn.system, drawn.train_set, drawn.seed, drawn.folder)
    numbers, pictures = read_runs([run, ("other", "en", 1, tmp_path)])
    assert list(pictures) == [f"{drawn.system} trained on en+de, seed {drawn.seed}"]
    text = embeddings_tab(numbers, pictures)
    assert Page(text).open_tags == []
    assert text.count("data:image/png;base64,") == 3
    assert f"{100 * numbers['knn_purity'].iloc[0]:.1f}" in text
    assert embeddings_tab(*read_runs([("other", "en", 1, tmp_path)])) == ""
