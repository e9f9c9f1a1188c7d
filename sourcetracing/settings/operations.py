"""Operations that a file may have gone through after it was made: their registry, by names that tables and settings use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sourcetracing.settings.parts import Entry, Registry

FAMILIES = {
    "codec": "lossy coding, as messengers and social networks do",
    "telephone": "coding of calls, at 8 or 16 kHz",
    "bandwidth": "resampling there and back, and plain low-passes",
    "noise": "something added, at an SNR in dB over the whole file",
    "room": "reverberation, its delay taken off",
    "level": "gain, clipping",
    "time": "tempo, pitch, speed",
    "length": "silence trimmed or added, the first seconds alone",
    "denoising": "enhancement",
}
CHAIN = "+"  # between the names of operations one after the other


@dataclass(frozen=True)
class OperationEntry(Entry):
    """target: a function of (waveform, `sourcetracing.postprocessing.operations.Sound`, **parameters) -> waveform.

    family: one of FAMILIES; says: what it does, in words; parameters: keywords whose names end in their units.
    encoder, filter: of ffmpeg, that it cannot do without; clips: the kind of noises ("speech", "music") that it mixes in.
    low_pass: the operation that takes the same band away and does nothing else. variant: the one of augment.variants that is of its kind.
    """

    family: str = "codec"
    says: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    encoder: str = ""
    filter: str = ""
    clips: str = ""
    low_pass: str = ""
    variant: str = ""


_PACKAGE = "sourcetracing.postprocessing"
_NARROW, _TELEPHONE = "lowpass_3k9", "lowpass_3k4"
# name of a codec: words, encoder, kbit/s -> the low-pass that keeps the same band (as measured with this build on 16 kHz sound)
_CODECS = {
    "mp3": ("MP3", "libmp3lame", {128: "lowpass_7k3", 64: "lowpass_7k3", 32: "lowpass_7k3", 16: "lowpass_5k5"}),
    "aac": ("AAC", "aac", {64: "", 32: "", 16: _NARROW}),
    "opus": ("Opus", "libopus", {32: "", 16: "", 8: "lowpass_4k2", 6: "lowpass_4k2"}),
}
# what calls use: words, encoder, stream, Hz, kbit/s, low-pass
_TELEPHONES = {
    "amr_nb_12k2": ("AMR-NB at 12.2 kbit/s", "libopencore_amrnb", "amr", 8000, 12.2, _TELEPHONE),
    "amr_nb_4k75": ("AMR-NB at 4.75 kbit/s", "libopencore_amrnb", "amr", 8000, 4.75, _TELEPHONE),
    "amr_wb_12k65": ("AMR-WB at 12.65 kbit/s", "libvo_amrwbenc", "amr", 16000, 12.65, ""),
    "gsm": ("GSM full rate, 13 kbit/s", "libgsm", "gsm", 8000, None, _TELEPHONE),
    "speex_nb_8k": ("Speex at 8 kHz, 8 kbit/s", "libspeex", "ogg", 8000, 8, _TELEPHONE),
    "a_law": ("G.711 A-law, 8 kHz", "pcm_alaw", "alaw", 8000, None, _NARROW),
    "mu_law": ("G.711 µ-law, 8 kHz", "pcm_mulaw", "mulaw", 8000, None, _NARROW),
    "g722": ("G.722, 64 kbit/s", "g722", "g722", 16000, None, ""),
    "g726_32k": ("G.726 at 32 kbit/s", "g726", "g726", 8000, 32, _NARROW),
}


def _in_name(number: float) -> str:
    """12.2 -> 12k2, 8 -> 8k."""
    return f"{number:g}".replace(".", "k") if number % 1 else f"{number:g}k"


def _entry(
    module: str, function: str, family: str, says: str, *, encoder="", filter="", clips="", low_pass="", variant="", **parameters
) -> OperationEntry:
    needs = {"encoder": encoder, "filter": filter, "clips": clips, "low_pass": low_pass, "variant": variant}
    target = f"{_PACKAGE}.{module}:{function}"
    return OperationEntry(target, family=family, says=says, parameters=MappingProxyType(parameters), **needs)


def _coded() -> Iterator[tuple[str, OperationEntry]]:
    for name, (words, encoder, low_passes) in _CODECS.items():
        for kbps, low_pass in low_passes.items():
            how = {"stream": "matroska", "coder": encoder, "kbit_s": kbps, "encoder": encoder, "low_pass": low_pass}
            yield f"{name}_{kbps}k", _entry("codecs", "coded", "codec", f"{words} at {kbps} kbit/s", variant="codec", **how)
    for quality, low_pass in ((3, ""), (0, "lowpass_7k3")):
        how = {"stream": "matroska", "coder": "libvorbis", "quality": quality, "encoder": "libvorbis", "low_pass": low_pass}
        yield f"vorbis_q{quality}", _entry("codecs", "coded", "codec", f"Vorbis, quality {quality}", variant="codec", **how)
    for name, (words, encoder, stream, rate_hz, kbps, low_pass) in _TELEPHONES.items():
        how = {"stream": stream, "coder": encoder, "rate_hz": rate_hz, "kbit_s": kbps, "encoder": encoder, "low_pass": low_pass}
        yield name, _entry("codecs", "coded", "telephone", words, variant="telephone", **how)


def _banded() -> Iterator[tuple[str, OperationEntry]]:
    for khz, low_pass in ((8, _NARROW), (11.025, "lowpass_5k5"), (16, ""), (22.05, "")):
        how = {"rate_hz": round(1000 * khz), "low_pass": low_pass}
        yield f"resample_{_in_name(khz)}", _entry("bands", "resampled", "bandwidth", f"resampled to {khz:g} kHz and back", **how)
    for khz in (3.4, 3.9, 4.2, 5.5, 7.3):
        words = f"nothing above {khz:g} kHz, all else as it was"
        yield f"lowpass_{_in_name(khz)}", _entry("bands", "low_passed", "bandwidth", words, cut_hz=1000 * khz)


def _disturbed() -> Iterator[tuple[str, OperationEntry]]:
    for snr_db in (30, 20, 10, 5, 0):
        yield (
            f"noise_{snr_db}db",
            _entry("noises", "with_white_noise", "noise", f"white noise, SNR {snr_db} dB", variant="noise", snr_db=snr_db),
        )
    for kind, clips, words, steps in (("babble", "speech", "5 talkers", (20, 10, 5)), ("music", "music", "music", (20, 10, 5))):
        for snr_db in steps:
            how = {"clips": clips, "variant": clips, "snr_db": snr_db}
            yield f"{kind}_{snr_db}db", _entry("noises", f"with_{kind}", "noise", f"{words}, SNR {snr_db} dB", **how)
    for size in ("small", "large"):
        yield f"reverb_{size}", _entry("rooms", "reverberated", "room", f"a {size} room, drawn for each file", variant="reverb", size=size)


def _levelled() -> Iterator[tuple[str, OperationEntry]]:
    for name, gain_db in (("quieter_20db", -20), ("quieter_6db", -6), ("louder_6db", 6)):
        yield name, _entry("levels", "with_gain", "level", f"{gain_db:+d} dB, nothing else", gain_db=gain_db)
    for over_db in (6, 12):
        words = f"peak at {over_db} dB over full scale, clipped there"
        yield f"clipped_{over_db}db", _entry("levels", "clipped", "level", words, over_db=over_db)


def _timed() -> Iterator[tuple[str, OperationEntry]]:
    for percent in (95, 105):
        both = {"percent": percent}
        yield f"tempo_{percent}pct", _entry("times", "at_tempo", "time", f"tempo {percent} %, pitch kept", filter="atempo", **both)
        yield f"pitch_{percent}pct", _entry("times", "at_pitch", "time", f"pitch {percent} %, tempo kept", filter="atempo", **both)
        yield f"speed_{percent}pct", _entry("times", "at_speed", "time", f"speed {percent} %: tempo and pitch", **both)
    yield "silence_trimmed", _entry("times", "without_silence", "length", "ends 40 dB below the loudest frame cut off", below_db=40)
    yield "silence_added", _entry("times", "with_silence", "length", "half a second of digital silence at both ends", seconds=0.5)
    for seconds in (8, 4, 2, 1):
        yield f"first_{seconds}s", _entry("times", "beginning", "length", f"the first {seconds} s alone", seconds=seconds)
    for strength_db in (12, 24):
        words = f"ffmpeg's afftdn, noise lowered by {strength_db} dB"
        yield f"denoise_{strength_db}db", _entry("enhancing", "denoised", "denoising", words, filter="afftdn", strength_db=strength_db)


OPERATIONS: Registry[OperationEntry] = Registry(
    "operation", dict(entry for some in (_coded, _banded, _disturbed, _levelled, _timed) for entry in some())
)


def steps_of(name: str) -> list[OperationEntry]:
    """The entries of an operation, or of a chain such as mp3_64k+opus_16k, in order. Raises `UserError` for a name that is none."""
    return [OPERATIONS[step] for step in name.split(CHAIN)]
