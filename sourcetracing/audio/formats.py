"""The names of audio files, for every door: corpora, detection, noises, tracing."""

from __future__ import annotations

# libsndfile reads the first line's, ffmpeg the second's (of a video its sound).
_BY_SOUNDFILE = "wav wave flac mp3 mpga ogg oga opus aiff aif aifc au snd caf w64 rf64 sph nist voc"
_BY_FFMPEG = "m4a m4b mp4 mov m4v webm mkv mka avi aac amr 3gp 3gpp wma asf spx ac3 flv mpg mpeg ts ape wv tta"
AUDIO_SUFFIXES = tuple(f".{name}" for name in f"{_BY_SOUNDFILE} {_BY_FFMPEG}".split())


def is_audio_name(name: str) -> bool:
    """Whether a file is taken for audio by its name."""
    return name.lower().endswith(AUDIO_SUFFIXES)
