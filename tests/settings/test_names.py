"""Which names of languages and sources are taken, and which are refused in one line."""

from __future__ import annotations

import pytest

from sourcetracing.errors import UserError
from sourcetracing.settings.names import require_usable_names
from tests.support.awkward_figures import CLASSES, LANGUAGES, UNKNOWN


def test_awkward_names_are_taken():
    require_usable_names([*LANGUAGES, "no", "zh-CN", "NA", "1"], [*CLASSES, *UNKNOWN, "../up", "a:b", "a+b", "Ünï", "unknown"])


@pytest.mark.parametrize("name", ["en/us", "en+de", "en:seen", "en,de", "all", "pooled", "total", "", " en", "en\n", "..", "-"])
def test_languages_that_mean_something_else_are_refused(name):
    with pytest.raises(UserError, match="corpus.languages") as refused:
        require_usable_names([name], [])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["all", "train", "eval", "hours", "utterances", "", " a", "a\nb"])
def test_sources_that_mean_something_else_are_refused(name):
    with pytest.raises(UserError, match="corpus.sources") as refused:
        require_usable_names([], [name])
    assert "\n" not in str(refused.value)
