"""What the words in lists of utterances mean: splits, languages, sources, seen and unseen, held-out languages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sourcetracing.corpora.mlaad import model_dir_of
from sourcetracing.settings.corpora import LANGUAGE_NAMES, SIX_LANGUAGES

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "development", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("eval", "evaluation", "test", "testing"), "eval"),
}
GROUP_WORDS = {"seen": "seen", "unseen": "unseen"}
SPEAKER_WORDS = {"speaker", "speakers", "spk", "spks"}
_ISO_639_2 = {"eng": "en", "deu": "de", "ger": "de", "fra": "fr", "fre": "fr", "ita": "it", "pol": "pl", "rus": "ru"}
_FILLER_WORDS = {"list", "lists", "protocol", "protocols", "file", "files", "set", "split"}
_HELD_OUT = re.compile(
    r"(?:(?:^|[_ ])-|5[-_ ]?lang(?:uage)?s?[-_ ]+|(?:held[-_ ]?out|without|wo|minus|except|leave[-_ ]?out)[-_ ]+)([a-z]+)"
)


@dataclass(frozen=True)
class NameReading:
    """What the name of a folder or file says. Several languages, splits or groups: the name allows any of them, and decides none."""

    languages: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    heldout: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """Reads words as languages and sources. The position of a source is its class id."""

    sources: Sequence[str]
    languages: Sequence[str]
    _names: dict[str, NameReading] = field(default_factory=dict, compare=False)

    @cached_property
    def language_words(self) -> dict[str, str]:
        """Codes (en), ISO 639-2 codes (eng) and English names, in lower case."""
        codes = (*SIX_LANGUAGES, *self.languages)  # and no others: words such as "hi" or "el" may mean anything
        names = {LANGUAGE_NAMES[code].lower(): code for code in codes if code in LANGUAGE_NAMES}
        return {code.lower(): code for code in codes} | names | _ISO_639_2

    @cached_property
    def source_words(self) -> dict[str, str]:
        """Model names, their folders, and the last part of a name where only one model has it; in lower case."""
        last_parts = [source.rpartition("/")[2].lower() for source in self.sources]
        short = {part: source for part, source in zip(last_parts, self.sources, strict=True) if last_parts.count(part) == 1}
        folders = {model_dir_of(source).lower(): source for source in self.sources}
        return short | folders | {source.lower(): source for source in self.sources}

    def language(self, word: str) -> str:
        """en, eng, English, en_US, en-US or the pair en-en -> en; "" for anything else, a pair of two languages included."""
        word = word.strip()
        first, _, second = word.replace("_", "-").partition("-")
        if len(second) == 2 and second.isupper() and len(first) == 2:
            return self.language_words.get(first.lower(), "")
        known = {self.language_words.get(part, "") for part in word.lower().replace("_", "-").split("-")}
        return known.pop() if len(known) == 1 else ""

    def source(self, word: str) -> str:
        """A class id, model name, model folder or its last part -> the model name; "" for anything else."""
        word = word.strip().lower()
        if re.fullmatch(r"\d+(\.0)?", word):
            number = int(word.partition(".")[0])
            return self.sources[number] if number < len(self.sources) else ""
        return self.source_words.get(word, "")

    def speaker_language(self, word: str) -> str:
        """en_7, en-07, EN_spk7 -> en: the published labels join language and number; "" for anything else."""
        match = re.fullmatch(r"([a-z]+)[-_ ]?(?:speaker|spk)?[-_ ]?\d+", word.strip().lower())
        return self.language_words.get(match[1], "") if match else ""

    def read_name(self, name: str) -> NameReading:
        """What the name of a folder, or of a file without its suffix, says; every word in it counts."""
        if name not in self._names:
            self._names[name] = self._read_name(name.lower())
        return self._names[name]

    def _read_name(self, name: str) -> NameReading:
        heldout = [self.language_words[word] for word in _HELD_OUT.findall(name) if word in self.language_words]
        rest = _HELD_OUT.sub(" ", name) if heldout else name
        words = re.findall(r"[a-z]+", rest)
        return NameReading(
            languages=_distinct(self.language_words.get(word) for word in words),
            splits=_distinct(SPLIT_WORDS.get(word) for word in words),
            groups=_distinct(GROUP_WORDS.get(word) for word in words),
            sources=self._sources_in(rest),
            speakers=_distinct(match[0] for match in re.finditer(r"[a-z]*[-_ ]?(?:speaker|spk)[-_ ]?\d+", rest)),
            heldout=_distinct(heldout),
        )

    def read_path_part(self, name: str) -> NameReading:
        """The same for a folder inside a listed path, which says something only if all of it is such words (not /home/it_tools/)."""
        words = re.findall(r"[a-z]+", name.lower())
        known = self.language_words.keys() | SPLIT_WORDS.keys() | GROUP_WORDS.keys() | SPEAKER_WORDS | {"lang"}
        return self.read_name(name) if words and known.issuperset(words) else NameReading()

    def _sources_in(self, name: str) -> tuple[str, ...]:
        """en_griffin_lim_train -> griffin_lim; bark-small says nothing, since `small` is left over."""
        harmless = self.language_words.keys() | SPLIT_WORDS.keys() | _FILLER_WORDS
        for word in sorted(self.source_words, key=len, reverse=True):
            before, found, after = name.partition(word)
            is_whole = not re.search(r"[a-z0-9.]$", before) and not re.match(r"[a-z0-9.]", after)
            if found and is_whole and harmless.issuperset(re.findall(r"[a-z]+", before + " " + after)):
                return (self.source_words[word],)
        return ()


def _distinct(words) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in words if word))
