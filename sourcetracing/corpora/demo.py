"""The demo corpus: synthetic speech, noises and rooms that the project makes itself, in the layouts of MLAAD, MUSAN and RIRS_NOISES.

Languages and sources are not in its recipe (`made_folders`): more of them can be added to a corpus later.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import soundfile

from sourcetracing.corpora.corpus import UTTERANCE_COLUMNS, Corpus, Resource, require_names
from sourcetracing.corpora.made_folders import MadeFolder, made_resources, make_folders, noise_folders, recipe_of, seed_of_audio
from sourcetracing.corpora.mlaad import META_COLUMNS, read_utterances, utterance_id
from sourcetracing.runtime.files import write_text
from sourcetracing.settings.schema import Settings
from sourcetracing.synthesis import make, plan
from sourcetracing.synthesis.channel import Recording
from sourcetracing.synthesis.tiny_encoder import FOLDER_NAME, is_complete, write_tiny_encoder
from sourcetracing.synthesis.vocoders import checkpoint_settings

_CORPUS_KEYS = ("utterances_per_source", "speakers_per_language", "level_spread_db", "channel", "trim", "shared_transcripts")


class DemoCorpus(Corpus):
    """Its files are the noises and room responses too."""

    def download(self) -> None:
        """Makes what is missing below paths.corpus, paths.musan and paths.rirs; existing files are kept. Raises UserError.

        Beside the speech lies an SSL encoder that has learned nothing, for systems that want one offline: ssl.model=<corpus>/tiny_wav2vec2.
        """
        folders = _folders(self.settings)
        make_folders(folders, self.settings)
        _write_meta(folders[0])
        if not is_complete(encoder := self.root / FOLDER_NAME):
            write_tiny_encoder(encoder, seed_of_audio(self.settings))

    def prepare(self) -> pd.DataFrame:
        return read_utterances(self.root, self.settings.corpus.languages, _sources(self.settings), plan.speaker_of)

    def of_every_source(self) -> pd.DataFrame:
        """As they would be made; twins apart, which are the same generator with another number."""
        planned = _planned(self.settings, list(plan.ARCHITECTURES))
        rows = [(utterance_id(one.path), one.path, one.language, one.source) for one in planned]
        return pd.DataFrame(rows, columns=list(UTTERANCE_COLUMNS[:4]))

    def files(self) -> pd.DataFrame:
        rows = [
            (str(folder.root / entry.path), *_place_of(folder, entry), (folder.root / entry.path).exists())
            for folder in _folders(self.settings)
            for entry in folder.entries
        ]
        return pd.DataFrame(rows, columns=["path", "language", "source", "present"])

    def check(self) -> dict[str, int]:
        """Number of utterances, noises and room responses, all of which are there."""
        super().check()
        return {name: len(folder.entries) for name, folder in zip(("utterances", "noises", "rirs"), _folders(self.settings), strict=True)}

    def resources(self) -> list[Resource]:
        """The three folders; nothing is fetched, espeak-ng and numpy make them."""
        return made_resources("demo", _folders(self.settings))


def _place_of(made: MadeFolder, entry: plan.Utterance | plan.NoiseFile | plan.RoomFile) -> tuple[str, str]:
    """(language, source); those of a noise are "-" and its folder."""
    return (entry.language, entry.source) if made.setting == "corpus" else ("-", made.root.name)


def _sources(settings: Settings) -> list[str]:
    """Classes first; [all] = every other source that can be made, without twins."""
    corpus = settings.corpus
    unknown = list(plan.ARCHITECTURES) if corpus.unknown_sources == ["all"] else corpus.unknown_sources
    return list(dict.fromkeys([*corpus.sources, *unknown]))


def _folders(settings: Settings) -> list[MadeFolder]:
    """Corpus, noises, room responses; a folder with somebody else's noises or responses is left out of the making."""
    utterances = _planned(settings, _sources(settings))
    corpus = MadeFolder("corpus", Path(settings.paths.corpus), recipe_of(settings, *_CORPUS_KEYS), utterances, make.make_utterance)
    return [corpus, *noise_folders(settings)]


def _planned(settings: Settings, sources: list[str]) -> list[plan.Utterance]:
    demo = settings.demo
    require_names("corpus.languages", settings.corpus.languages, plan.LOCALES, "the demo corpus")
    require_names("corpus.sources", sources, {**plan.ARCHITECTURES, **plan.TWINS}, "the demo corpus")
    return plan.plan_utterances(
        settings.corpus.languages,
        sources,
        demo.utterances_per_source,
        demo.speakers_per_language,
        seed_of_audio(settings),
        shared_transcripts=demo.shared_transcripts,
        recording=Recording(demo.level_spread_db, demo.channel == "file", demo.trim),
    )


def _write_meta(made: MadeFolder) -> None:
    """MLAAD's meta.csv for each model directory that has none."""
    by_folder: dict[Path, list[plan.Utterance]] = {}
    for utterance in made.entries:
        by_folder.setdefault((made.root / utterance.path).parent, []).append(utterance)
    for folder, utterances in by_folder.items():
        if not (folder / "meta.csv").exists():
            write_text(
                folder / "meta.csv",
                "\n".join(["|".join(META_COLUMNS), *(_meta_row(made.root, utterance) for utterance in utterances)]) + "\n",
            )


def _meta_row(root: Path, utterance: plan.Utterance) -> str:
    """One row, fields free of the separator; training_data names the vocoder's settings, the nearest thing it has."""
    settings = checkpoint_settings(utterance.source, utterance.language)
    fields = (
        f"./{utterance.path}",
        utterance.original_file,
        utterance.language,
        "True",
        f"{soundfile.info(root / utterance.path).duration:.4f}",
        " ".join(f"{key}={value}" for key, value in settings.items()) or "none",
        utterance.source,
        (plan.ARCHITECTURES | plan.TWINS)[utterance.source],
        utterance.transcript,
    )
    assert not any("|" in field for field in fields)
    return "|".join(fields)
