"""The augmentation recipe: parity with the published formulas, and what the published code got wrong."""

import json

import numpy as np
import pytest
import scipy.signal

from sourcetracing.errors import UserError
from sourcetracing.features.augment import Augmenter, add_reverb, level_db
from sourcetracing.features.noise_bank import ClipBank
from sourcetracing.settings.frontends import VARIANTS, Augment
from sourcetracing.settings.reading import load_settings
from tests.support.audio_files import bank_of
from tests.support.places import GOLDEN, ROOT

GOLDEN = GOLDEN / "augment"
ARRAYS = dict(np.load(GOLDEN.with_suffix(".npz")))
CASES = json.loads(GOLDEN.with_suffix(".json").read_text())
CLEAN = np.random.default_rng(5).normal(0, 0.1, 8000).astype(np.float32)


def golden_input(name: str) -> np.ndarray:
    return np.zeros_like(ARRAYS["audio"]) if name == "silence" else ARRAYS[name]


def with_noise(clean: np.ndarray, clip: np.ndarray, snr_db: float) -> np.ndarray:
    """The noise variant that can only draw this clip, from its beginning, at this SNR."""
    augment = Augment(variants=["noise"], noise_snr_db=[snr_db, snr_db], random_offset=False)
    return Augmenter(augment, {"noise": bank_of([clip])}, seed=1).variants(clean, "u")[0]


@pytest.mark.parametrize("case", CASES["pinned"], ids=lambda case: case["key"])
def test_parity_with_the_published_formulas(case):
    clean, clip = golden_input(case["input"]), ARRAYS[case["clip"]]
    made = add_reverb(clean, clip) if case["op"] == "add_reverb" else with_noise(clean, clip, case["snr_db"])
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, ARRAYS[case["key"]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES["seeded"], ids=lambda case: case["key"])
def test_parity_of_the_published_overlay(case):
    """The clip and the SNR that the published code drew, through our whole augmenter under the overlay."""
    overlay = str(ROOT / "configs/as_published/published_augmentation.yaml")
    augment = load_settings([overlay]).augment
    augment.variants = [case["emphasis"]]
    chosen = case.get("chosen", "rir1")
    clip = ARRAYS[f"rir/{chosen[-1]}" if chosen.startswith("rir") else f"noise/{chosen}"]
    snr_db = case.get("snr_db", 0.0)
    augment.speech_snr_db = [snr_db, snr_db]
    augmenter = Augmenter(augment, {"rir": bank_of([clip]), "speech": bank_of([clip])}, seed=1)
    made = augmenter.variants(ARRAYS["audio"], "u")[0]
    np.testing.assert_allclose(made, ARRAYS[case["key"]], atol=1e-5, rtol=0)


def banks(num_clips: int = 9, num_samples: int = 20000, levels=(0.1, 0.1, 0.1)) -> dict[str, ClipBank]:
    """Banks whose clips are told apart by their content."""
    made = {}
    for number, (kind, level) in enumerate(zip(("music", "noise", "speech"), levels, strict=True)):
        generator = np.random.default_rng(number)
        made[kind] = bank_of([generator.normal(0, level, num_samples).astype(np.float32) for _ in range(num_clips)])
    return made | {"rir": bank_of([np.exp(-np.arange(800) / decay).astype(np.float32) for decay in range(20, 220, 10)])}


def only(variant: str, **changes) -> Augment:
    return Augment(variants=[variant], **changes)


def test_each_variant_starts_from_the_clean_signal_and_draws_from_its_own_category():
    """D5, D6: with one category silent, its variant alone stays clean."""
    silent_music = Augmenter(Augment(), banks(levels=(0.0, 0.1, 0.1)), seed=1).variants(CLEAN, "u")
    np.testing.assert_array_equal(silent_music[VARIANTS.index("music")], CLEAN)
    np.testing.assert_array_equal(silent_music[VARIANTS.index("original")], CLEAN)
    for variant in ("reverb", "speech", "noise"):
        assert np.abs(silent_music[VARIANTS.index(variant)] - CLEAN).max() > 0.01


def test_force_speech_and_stacking_are_what_the_published_code_did():
    forced = Augmenter(Augment(force_speech=True), {"speech": banks()["speech"], "rir": banks()["rir"]}, seed=1).variants(CLEAN, "u")
    assert np.abs(forced[VARIANTS.index("music")] - CLEAN).max() > 0.01
    stacked = Augmenter(Augment(stacked=True), banks(), seed=1)
    made = stacked.variants(CLEAN, "u")
    np.testing.assert_array_equal(made[2], stacked.variant(made[1], "u", "speech"))


def test_a_variant_depends_on_seed_utterance_and_variant_alone():
    every = Augmenter(Augment(), banks(), seed=1).variants(CLEAN, "u")
    for row, variant in enumerate(VARIANTS):
        alone = Augmenter(only(variant), banks(), seed=1).variants(CLEAN, "u")[0]
        np.testing.assert_array_equal(alone, every[row])
    other_seed, other_id = Augmenter(Augment(), banks(), seed=2).variants(CLEAN, "u"), Augmenter(Augment(), banks(), 1).variants(CLEAN, "v")
    for row in range(1, 5):
        assert not np.array_equal(every[row], other_seed[row]) and not np.array_equal(every[row], other_id[row])


@pytest.mark.parametrize("kind, limits", [("music", (5, 15)), ("noise", (0, 15))])
def test_snr_lies_in_the_range_of_its_category(kind, limits):
    augmenter = Augmenter(only(kind), banks(), seed=3)
    loud = CLEAN * 5  # far above the floor in the level formula, so that it does not blur the measurement
    added = [augmenter.variants(loud, f"u{number}")[0] - loud for number in range(200)]
    snrs = np.array([10 * np.log10(np.mean(loud**2) / np.mean(noise**2)) for noise in added])
    assert limits[0] - 0.1 < snrs.min() < limits[0] + 0.6
    assert limits[1] - 0.6 < snrs.max() < limits[1] + 0.1


def test_babble_sums_three_to_eight_different_talkers_each_at_its_own_snr():
    """D7. Talkers are constants of different value, so their sum tells who spoke."""
    num_talkers = 9
    bank = banks() | {"speech": bank_of([np.eye(num_talkers, dtype=np.float32)[i].repeat(100) for i in range(num_talkers)])}
    augmenter = Augmenter(only("speech", random_offset=False), bank, seed=1)
    clean = np.full(num_talkers * 100, 0.1, np.float32)
    seen, gains = [], set()
    for number in range(200):
        added = (augmenter.variants(clean, f"u{number}")[0] - clean).reshape(num_talkers, 100)[:, 0]
        talkers = added > 1e-6
        seen.append(talkers.sum())
        gains |= {round(float(gain), 5) for gain in added[talkers]}
    assert set(seen) == {3, 4, 5, 6, 7, 8}
    assert len(gains) > 500
    one = Augmenter(only("speech", random_offset=False, babble_talkers=[1, 1]), bank, seed=1)
    assert ((one.variants(clean, "u")[0] - clean) > 1e-6).sum() == 100


def test_offsets_are_random_unless_switched_off():
    ramp = {"noise": bank_of([np.linspace(0.1, 1, 20000, dtype=np.float32)])}
    firsts = {only_offset: set() for only_offset in (True, False)}
    for random_offset, found in firsts.items():
        augmenter = Augmenter(only("noise", random_offset=random_offset, noise_snr_db=[0, 0]), ramp, seed=1)
        for number in range(20):
            added = augmenter.variants(CLEAN, f"u{number}")[0] - CLEAN
            found.add(round(float(added[0] / added[-1]), 3))  # where on the ramp the clip began
    assert len(firsts[False]) == 1 and len(firsts[True]) > 15


def test_a_short_clip_goes_round():
    bank = bank_of([np.zeros(4, np.float32), np.arange(1, 6, dtype=np.float32)])
    assert bank.read(1, 3, 9).tolist() == [4, 5, 1, 2, 3, 4, 5, 1, 2]
    assert bank.read(1, 0, 3).tolist() == [1, 2, 3]
    assert bank.read(1, 2, 3).tolist() == [3, 4, 5]
    assert bank.read(1).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("num_response", [1, 800, 7999, 8000, 20000])
def test_reverb_is_the_full_convolution_cut_to_length(num_response):
    response = np.random.default_rng(2).normal(size=num_response).astype(np.float32)
    unit = response.astype(np.float64) / np.sqrt((response.astype(np.float64) ** 2).sum())
    expected = scipy.signal.fftconvolve(CLEAN.astype(np.float64), unit)[: len(CLEAN)]
    np.testing.assert_allclose(add_reverb(CLEAN, response), expected, atol=2e-6)


def test_edge_cases_stay_finite():
    silence = np.zeros(8000, np.float32)
    np.testing.assert_array_equal(with_noise(CLEAN, silence, 10.0), CLEAN)
    assert np.isfinite(with_noise(silence, CLEAN, 0.0)).all()
    assert level_db(silence) == pytest.approx(-40)
    made = Augmenter(Augment(), banks(levels=(0, 0, 0)), seed=1).variants(silence, "u")
    np.testing.assert_array_equal(made, 0)
    with pytest.raises(UserError, match="without any sound"):
        add_reverb(CLEAN, np.zeros(100, np.float32))


def test_too_few_talkers_is_the_users_mistake():
    with pytest.raises(UserError, match=r"babble_talkers=\[3, 8\]: there are 2 speech files"):
        Augmenter(Augment(), banks(num_clips=2), seed=1)
    few = Augmenter(only("speech"), banks(num_clips=4), seed=1)  # the upper end gives way
    assert np.isfinite(few.variants(CLEAN, "u")).all()


def test_the_input_is_left_as_it_was():
    before = CLEAN.copy()
    Augmenter(Augment(), banks(), seed=1).variants(CLEAN, "u")
    np.testing.assert_array_equal(CLEAN, before)
