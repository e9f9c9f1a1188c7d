"""The tables of a case's page: texts as they stand there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from sourcetracing.casework.audio_facts import AudioFacts
from sourcetracing.casework.neighbours import Neighbour
from sourcetracing.casework.reliability import Share
from sourcetracing.casework.wording import NO_SUPPORT, Evidence, strength_of
from sourcetracing.settings.names import printable
from sourcetracing.tracing.enrolled import EnrolledAnswer
from sourcetracing.tracing.levels import LevelAnswer


def signed(evidence: Evidence) -> str:
    """The log10 LR: +1.23, with ≥ or ≤ where it lies at its bound."""
    mark = ("≥ " if evidence.llr >= 0 else "≤ ") if evidence.is_cut else ""
    return f"{mark}{evidence.log10:+.2f}"


def sources_table(names: Sequence[str], probabilities: Sequence[float], evidences: Sequence[Evidence]) -> pd.DataFrame:
    """Known sources with what speaks for each; evidences: empty where dev cannot bound any."""
    table = pd.DataFrame({"source": list(names), "probability": [f"{probability:.3f}" for probability in probabilities]})
    if evidences:
        table["log10 LR"] = [signed(evidence) for evidence in evidences]
        table["support"] = [_support(evidence) for evidence in evidences]
    return table


def levels_table(answers: Sequence[LevelAnswer]) -> pd.DataFrame:
    """How far down the tree of labels the answer is sure."""
    rows = [(one.level.replace("_", " "), one.label, f"{one.probability:.3f}", "yes" if one.is_named else "no", one.why) for one in answers]
    return pd.DataFrame(rows, columns=["level", "likeliest", "probability", "sure", "because"])


def neighbours_table(neighbours: Sequence[Neighbour]) -> pd.DataFrame:
    """Training utterances, nearest first."""
    rows = [(found.utt_id, found.source, found.language, f"{found.cosine:.3f}") for found in neighbours]
    return pd.DataFrame(rows, columns=["utterance", "source", "language", "cosine"])


def shares_table(shares: Sequence[Share]) -> pd.DataFrame:
    """How often the system is right."""
    rows = [(share.what, f"{share.right} of {share.total}", f"{share.low:.1%} to {share.high:.1%}") for share in shares]
    return pd.DataFrame(rows, columns=["eval, clean utterances", "right", "95 % interval"])


def _support(evidence: Evidence) -> str:
    strength = strength_of(evidence.log10)
    return f"{strength} against" if evidence.llr < 0 and strength != NO_SUPPORT else strength


def facts_table(facts: AudioFacts) -> pd.DataFrame:
    """What a file is."""
    sound = facts.sound
    lead, trail = (_unit(seconds, "s", 2) for seconds in (sound.leading_silence_s, sound.trailing_silence_s))
    rows = [
        ("path", printable(facts.path)),
        ("bytes", f"{facts.num_bytes:,}"),
        ("SHA-256", facts.sha256),
        ("format", f"{facts.coding}, {'lossy' if facts.is_lossy else 'lossless'}"),
        ("sampling rate", f"{facts.rate:,} Hz"),
        ("channels", str(facts.num_channels)),
        ("duration", f"{facts.duration_s:.3f} s"),
        ("peak", _unit(facts.peak_dbfs, "dBFS")),
        ("root mean square", _unit(sound.rms_dbfs, "dBFS")),
        ("clipping", f"{facts.clipped:.4%} of the samples at full scale" if facts.clipped else "no sample at full scale"),
        ("bandwidth", f"{_unit(sound.bandwidth_hz, 'Hz', 0)} (70 dB below the strongest frequency)"),
        ("silence", f"{lead} at the start, {trail} at the end, {_unit(facts.silence_s, 's', 2)} in all"),
    ]
    return pd.DataFrame(rows, columns=["what", "value"])


def undecoded_table(path: str, sha256: str) -> pd.DataFrame:
    """What is known of a file that cannot be decoded."""
    return pd.DataFrame([("path", printable(path)), ("SHA-256", sha256)], columns=["what", "value"])


def _unit(value: float, unit: str, digits: int = 1) -> str:
    return "not known" if math.isnan(value) else f"{value:,.{digits}f} {unit}"


def enrolled_evidence(answer: EnrolledAnswer) -> Evidence:
    """For the nearest enrolled source of an answer that has one."""
    return Evidence(answer.llr, *answer.bounds, answer.is_at_bound, answer.num_utterances)


def enrolled_table(answer: EnrolledAnswer) -> pd.DataFrame:
    """The source of a library that a file is most like, and whether it is named as the file's."""
    threshold = "none" if answer.threshold is None else f"{answer.threshold:.3f}"
    log10_lr = signed(enrolled_evidence(answer))
    row = (answer.nearest, str(answer.files), f"{answer.score:.3f}", threshold, log10_lr, answer.decision)
    return pd.DataFrame([row], columns=["nearest enrolled source", "its files", "score", "threshold", "log10 LR", "answer"])
