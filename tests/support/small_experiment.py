"""A small experiment from audio on: utterances of one language and two sources, noises, rooms; settings for narrow networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sourcetracing.features.extracting import extract_features
from sourcetracing.layout import Layout
from sourcetracing.settings.schema import Settings
from tests.support.audio_files import small_audio_settings, write_corpus, write_noises, write_responses


@dataclass
class SmallExperiment:
    """Audio below `root`; experiments on it get their own names."""

    root: Path
    utterances: pd.DataFrame
    protocol: pd.DataFrame

    @classmethod
    def write(cls, root: Path, num_utterances: int) -> SmallExperiment:
        utterances, protocol = write_corpus(root / "corpus", num_utterances)
        # Both sources, which take turns, in every split.
        protocol["split"] = [("train", "dev", "eval")[number // 2 % 3] for number in range(num_utterances)]
        write_noises(root / "musan")
        write_responses(root / "RIRS_NOISES")
        return cls(root, utterances, protocol)

    def settings(self, name: str) -> Settings:
        """A narrow ECAPA-TDNN, four epochs, one worker, on the CPU."""
        settings = small_audio_settings(self.root)
        settings.name, settings.store.block_rows = name, 10
        settings.corpus.languages, settings.corpus.sources = ["en"], ["source0", "source1"]
        settings.compute.device, settings.ecapa_tdnn.channels, settings.train.epochs = "cpu", 8, 4
        return settings

    def prepare(self, settings: Settings) -> None:
        """What script 02 writes, and the features."""
        self.write_lists(settings)
        extract_features(settings, self.utterances, self.protocol)

    def write_lists(self, settings: Settings) -> None:
        """What script 02 writes."""
        folder = Layout.of(settings).root
        folder.mkdir(parents=True)
        self.utterances.assign(duration_s=1.0, speaker="", transcript="").to_csv(folder / "utterances.csv", index=False)
        self.protocol.to_csv(folder / "protocol.csv", index=False)
