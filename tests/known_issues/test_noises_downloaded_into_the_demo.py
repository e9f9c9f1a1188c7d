"""A folder of one's own without a line on noises had script 01 fetch 11 GB into the demo's folder, without a question."""

from __future__ import annotations

import pytest

from sourcetracing.corpora import noise_corpora
from sourcetracing.errors import UserError
from sourcetracing.settings.reading import load_settings


def test_the_demos_folder_is_no_place_for_musan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(noise_corpora, "fetch", lambda *_: pytest.fail("fetched"))
    settings = load_settings(["corpus.reader=folder", f"paths.corpus={tmp_path}"])
    for corpus, words in ((noise_corpora.MUSAN, "paths.musan=data/musan"), (noise_corpora.RIRS_NOISES, "paths.rirs=data/RIRS_NOISES")):
        with pytest.raises(UserError, match=rf"is the demo's.*{words}; or go without: augment.variants=\[original\]"):
            noise_corpora.download(corpus, settings)
    assert not (tmp_path / "data").exists()
