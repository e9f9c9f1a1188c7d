"""Published numbers of the detection experiments: complete, their averages recomputed, their errors just those that are noted."""

from itertools import combinations

import pandas as pd
import pytest

from sourcetracing.detection.experiments.published import (
    FOLDER,
    note_of,
    published_layer_eer,
    published_layers,
    published_mixture,
)

SCIENTIFIC = ["ASV19", "FoR", "ASV21", "TIMIT", "ODSS", "MLAAD", "ASV5"]
REAL_LIFE = ["ITW", "AI4T"]
PRINTED = pd.read_csv(FOLDER / "dataset_mixing.csv")
HALF_DIGIT = 0.00005 + 1e-9  # of a fraction whose percent are printed with two decimals


def test_all_147_averages_of_the_layers_are_those_of_the_cells():
    layers = published_layers()
    assert list(layers.index) == list(range(49))
    recomputed = {"AVG_ID": layers[SCIENTIFIC], "AVG_OOD": layers[REAL_LIFE], "AVG_ALL": layers[SCIENTIFIC + REAL_LIFE]}
    agreeing = sum(((layers[name] - cells.mean(axis=1)).abs() <= HALF_DIGIT).sum() for name, cells in recomputed.items())
    assert agreeing == 147


def test_both_layer_files_hold_the_same_numbers():
    long = pd.read_csv(FOLDER / "layers_eval.csv").pivot_table(index="layer", columns="dataset", values="eer")
    wide = pd.read_csv(FOLDER / "layers_eval_wide.csv", index_col="layer")
    shared = [*SCIENTIFIC, *REAL_LIFE]
    assert len(long) == 49 and (long[shared] == wide[shared]).all(axis=None)


def test_all_127_averages_of_the_mixtures_are_those_of_the_cells():
    mixtures = pd.DataFrame([published_mixture(names.split("+")) for names in PRINTED["combination"]])
    agreeing = ((mixtures["MEAN"] - mixtures[REAL_LIFE].mean(axis=1)).abs() <= HALF_DIGIT).sum()
    assert agreeing == len(mixtures) == 127


def test_mixtures_are_every_subset_once_and_in_order_of_size():
    found = [frozenset(mixture.split("+")) for mixture in PRINTED["combination"]]
    expected = {frozenset(members) for size in range(1, 8) for members in combinations(SCIENTIFIC, size)}
    assert len(found) == len(set(found)) and set(found) == expected
    assert [len(members) for members in found] == sorted(map(len, found))


def test_d85_is_the_only_row_whose_boxes_are_wrong():
    wrong = PRINTED[PRINTED["combination_as_ticked"] != PRINTED["combination"]]
    assert wrong["row"].tolist() == [9] and note_of("mixing", wrong["combination"].iloc[0]).startswith("D85")
    assert [names for names in PRINTED["combination"] if note_of("mixing", names)] == ["ASV19+ASV21"]
    assert published_mixture(["ASV21", "ASV19"])["AI4T"] == pytest.approx(0.2584)
    assert published_mixture(["ASV19", "FoR", "ASV21"])["AI4T"] == pytest.approx(0.4490)


def test_d86_all_mixtures_of_the_readme_differ_from_the_pdf():
    sample = pd.read_csv(FOLDER / "readme_mixing_sample.csv")
    for row in sample.itertuples():
        cells = published_mixture(row.combination.split("+"))
        assert (100 * cells["ITW"], 100 * cells["AI4T"]) == pytest.approx((row.itw_eer_pdf, row.ai4trust_eer_pdf))
    differs = (sample["itw_eer_readme"] != sample["itw_eer_pdf"]) | (sample["ai4trust_eer_readme"] != sample["ai4trust_eer_pdf"])
    assert differs.sum() == len(sample) == 8
    assert (sample["ai4trust_eer_readme"] - sample["ai4trust_eer_pdf"]).abs().max() == pytest.approx(4.29)


def test_d87_the_readme_truncates_layer_9():
    sample = pd.read_csv(FOLDER / "readme_layer9_sample.csv").set_index("dataset")
    assert (sample["eer_pdf"] - sample["eer_readme"]).max() < 0.1
    assert sample.loc["for", "eer_readme"] == 6.6 and sample.loc["for", "eer_pdf"] == 6.67


def test_d88_layers_2_and_3_are_the_only_ones_with_the_same_real_life_eers():
    layers = published_layers()
    repeated = layers.index[layers.duplicated(REAL_LIFE, keep=False)].tolist()
    assert repeated == [2, 3] and all(note_of("layers", layer).startswith("D88") for layer in repeated)


def test_layer_9_is_best_for_the_in_domain_average_only():
    layers = published_layers()
    best = {
        name: layers.index[layers[name] == layers[name].min()].tolist() for name in ("AVG_ID", "AVG_OOD", "AVG_ALL", "ALL", "ITW", "AI4T")
    }
    assert best == {"AVG_ID": [9], "AVG_OOD": [11], "AVG_ALL": [9, 10], "ALL": [11], "ITW": [10], "AI4T": [11]}


def test_what_was_not_published_is_nan_or_empty():
    assert pd.isna(published_layer_eer(49, "ITW")) and pd.isna(published_layer_eer(9, "MyCorpus"))
    assert published_layer_eer(9, "ITW") == pytest.approx(0.0341)
    assert published_mixture(["MyCorpus"]) == {}
