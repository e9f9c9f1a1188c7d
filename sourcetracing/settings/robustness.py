"""Settings of script 12: what survives post-processing?"""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import SOME, setting
from sourcetracing.settings.openset import DETECTORS

GRID = ["mp3_128k", "mp3_32k", "mp3_16k", "aac_32k", "aac_16k", "opus_32k", "opus_16k", "opus_6k", "vorbis_q0"]
GRID += ["amr_nb_12k2", "amr_nb_4k75", "amr_wb_12k65", "gsm", "mu_law", "g722"]
GRID += ["resample_8k", "resample_11k025", "resample_22k05"]
GRID += ["lowpass_3k4", "lowpass_3k9", "lowpass_4k2", "lowpass_5k5", "lowpass_7k3"]
GRID += ["noise_20db", "noise_10db", "noise_0db", "babble_10db", "music_10db", "reverb_small", "reverb_large"]
GRID += ["quieter_20db", "louder_6db", "clipped_6db"]
GRID += ["tempo_95pct", "tempo_105pct", "pitch_95pct", "pitch_105pct", "silence_trimmed", "silence_added"]
GRID += ["first_4s", "first_2s", "first_1s", "denoise_12db", "mp3_64k+opus_16k", "noise_10db+amr_nb_12k2"]


@dataclass
class Robustness:
    """Runs on eval utterances that went through codecs, telephones, noise and more (script 12)."""

    operations: list[str] = setting(
        GRID, "what is done to utterances, each by itself: names of docs/robustness.md, chains with +, such as mp3_64k+opus_16k", items=SOME
    )
    utterances: int = setting(
        200,
        "eval utterances of each training set's languages, drawn evenly over languages and sources; 0 = all",
        at_least=0,
        at_most=100_000_000,
    )
    detector: str = setting("max_softmax", "of unknown sources; its threshold accepts 95 % of clean dev's known ones", choices=DETECTORS)
