"""espeak-ng through ctypes: text and a voice variant in, samples out, the same bytes whatever was spoken before.

The library keeps state between calls (phases, noise, klatt filters), so it is loaded afresh for every utterance, which takes about
4 ms. espeak-ng is GPL and optional: `espeakng-loader` is imported here and nowhere else, and only when something is to be spoken.
"""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from sourcetracing.runtime.extras import needs

SAMPLE_RATE = 22050  # Hz, fixed by espeak-ng's phoneme data
VOICE_NAMES = {"en": "en-us", **{language: language for language in ("de", "fr", "it", "pl", "ru", "es", "pt", "nl", "sv")}}
_LANGUAGE_FILES = {
    "en": "gmw/en-US",
    "de": "gmw/de",
    "fr": "roa/fr",
    "it": "roa/it",
    "pl": "zlw/pl",
    "ru": "zle/ru",
    "es": "roa/es",
    "pt": "roa/pt",
    "nl": "gmw/nl",
    "sv": "gmq/sv",
}
_SHARED_FILES = ("phondata", "phonindex", "phontab", "intonations")
_VARIANT = "speaker"
_VOLUME_PERCENT = 30  # at 100 the Klatt synthesizer clips more than half of its utterances
_SYNCHRONOUS, _DO_NOT_EXIT, _RATE, _VOLUME, _UTF8, _CHARACTERS = 2, 0x8000, 1, 2, 1, 1  # names of speak_lib.h, shortened
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def _loader():
    with needs("demo", "speech of the demo corpus"):
        import espeakng_loader
    return espeakng_loader


def require_espeak() -> None:
    """Raises `UserError` where `espeakng-loader` is not installed."""
    _loader()


class Espeak:
    """Speaks from a private data folder with the demo's languages and one voice variant, which each call replaces.

    One per process: the library is not thread-safe, and part of its random numbers are the C library's.
    """

    def __init__(self, folder: str | Path):
        self._folder = Path(folder)
        self._library_path = str(_loader().get_library_path())
        source, target = Path(_loader().get_data_path()), self._folder / "espeak-ng-data"
        for name in (*_SHARED_FILES, *(f"{language}_dict" for language in VOICE_NAMES)):
            _link(source / name, target / name)
        for name in _LANGUAGE_FILES.values():  # the library caps its list of voices, so these only
            _link(source / "lang" / name, target / "lang" / name)
        self._variant_path = target / "voices" / "!v" / _VARIANT
        self._variant_path.parent.mkdir(parents=True, exist_ok=True)

    def speak(self, text: str, language: str, variant: str, words_per_minute: int, seed: int) -> np.ndarray:
        """int16 samples (T,) at 22,050 Hz; they depend on the arguments alone. `variant`: lines of an espeak-ng voice variant file."""
        self._variant_path.write_text(f"language variant\nname {_VARIANT}\n{variant}\n", encoding="utf-8")
        chunks: list[np.ndarray] = []

        def collect(samples, count, _events) -> int:
            if samples and count > 0:
                chunks.append(np.frombuffer(ctypes.string_at(samples, 2 * count), np.int16))
            return 0

        callback = _CALLBACK(collect)  # held here: the library keeps a bare pointer to it
        with _loaded(self._library_path) as library:
            if library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(self._folder), _DO_NOT_EXIT) != SAMPLE_RATE:
                raise RuntimeError(f"espeak-ng does not start from {self._folder}")
            library.espeak_SetSynthCallback(callback)
            voice = f"{VOICE_NAMES[language]}+{_VARIANT}"
            assert library.espeak_SetVoiceByName(voice.encode()) == 0, f"espeak-ng has no voice {voice}"
            library.espeak_SetParameter(_RATE, words_per_minute, 0)
            library.espeak_SetParameter(_VOLUME, _VOLUME_PERCENT, 0)
            library.espeak_ng_SetRandSeed(ctypes.c_long(seed & 0x7FFFFFFF))  # otherwise the clock seeds it
            _c_library().srand(ctypes.c_uint(seed & 0x7FFFFFFF))  # parts of it still draw from the C library
            encoded = text.encode()
            status = library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, _CHARACTERS, 0, _UTF8, None, None)
            assert status == 0, f"espeak-ng failed on: {text}"
            library.espeak_Terminate()
        return np.concatenate(chunks) if chunks else np.zeros(0, np.int16)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        target.symlink_to(source)
    except OSError:  # Windows without the privilege to link
        shutil.copyfile(source, target)


@contextlib.contextmanager
def _loaded(path: str):
    """A fresh copy of the library's static data: the only way to forget what it said before."""
    library = ctypes.CDLL(path)
    try:
        yield library
    finally:
        close = _ctypes.FreeLibrary if sys.platform == "win32" else _ctypes.dlclose
        close(library._handle)


def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL("ucrtbase") if sys.platform == "win32" else ctypes.CDLL(None)
