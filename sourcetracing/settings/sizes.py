"""Do the sizes that the settings ask for fit together, and into memory? What is sensible one by one may need terabytes together."""

from __future__ import annotations

from typing import Any

from sourcetracing.errors import UserError

MOST_BYTES = 1 << 31  # of one array; a step has several
FLOAT_BYTES, COMPLEX_BYTES = 4, 8
SPECTRA_AT_A_TIME = 8  # models/frontends/lfcc.py
LOWEST_LIMIT_HZ = 1000  # of audio.band_limit_hz: below there is no speech left


def check_sizes(settings: Any) -> None:
    """Refuses windows that do not fit each other or the crop, a band limit beyond the band, and batches of more than MOST_BYTES."""
    audio, lfcc = settings.audio, settings.lfcc
    if (limit := audio.band_limit_hz) and not LOWEST_LIMIT_HZ <= limit < audio.sample_rate / 2:
        fitting = f"at least {LOWEST_LIMIT_HZ} and below half of audio.sample_rate={audio.sample_rate}"
        raise UserError(f"audio.band_limit_hz={limit:g}: must be 0 (off), or {fitting}")
    if lfcc.n_lfcc > lfcc.n_filter:
        raise UserError(f"lfcc.n_lfcc={lfcc.n_lfcc} is more than lfcc.n_filter={lfcc.n_filter}")
    if lfcc.win_length > lfcc.n_fft:
        raise UserError(f"lfcc.win_length={lfcc.win_length} is more than lfcc.n_fft={lfcc.n_fft}")
    if lfcc.n_filter > (num_bins := lfcc.n_fft // 2 + 1):
        raise UserError(
            f"lfcc.n_filter={lfcc.n_filter} is more than the {num_bins} frequencies of lfcc.n_fft={lfcc.n_fft}: some would hear nothing"
        )
    samples = round(audio.crop_seconds * audio.sample_rate)
    sizes = {"audio.crop_seconds": samples * FLOAT_BYTES}
    if settings.frontend == "lfcc":
        if samples < lfcc.n_fft:
            raise UserError(f"audio.crop_seconds={audio.crop_seconds:g} are {samples} samples, fewer than lfcc.n_fft={lfcc.n_fft}")
        frames = 1 + (samples - lfcc.n_fft) // lfcc.hop_length
        sizes["lfcc.hop_length"] = SPECTRA_AT_A_TIME * frames * (lfcc.n_fft // 2 + 1) * COMPLEX_BYTES
        row_bytes = frames * lfcc.n_lfcc * FLOAT_BYTES
    elif settings.frontend == "residual":
        sizes["residual.hop_length"] = _check_residual(settings, samples)
        row_bytes = (settings.residual.n_fft // 2 + 1) * FLOAT_BYTES
    else:
        row_bytes = samples * FLOAT_BYTES
    sizes["train.batch_size"] = 2 * row_bytes * (settings.train.micro_batch_size or settings.train.batch_size)
    sizes["evaluation.batch_size"] = row_bytes * settings.evaluation.batch_size
    sizes["trace.batch_windows"] = row_bytes * settings.trace.batch_windows
    for key, num_bytes in sizes.items():
        if num_bytes > MOST_BYTES:
            value = getattr(getattr(settings, key.split(".")[0]), key.split(".")[1])
            raise UserError(f"{key}={value:g} needs an array of {num_bytes / 1e9:.1f} GB with these settings; more than 2 GB are refused")


def _check_residual(settings: Any, samples: int) -> int:
    """The bytes of the spectra of a crop of so many samples. Raises `UserError` for a filter that does not fit."""
    audio, residual = settings.audio, settings.residual
    if not residual.taps % 2:
        raise UserError(f"residual.taps={residual.taps} is even: a filter that delays by whole samples has an odd number")
    if residual.cutoff_hz >= audio.sample_rate / 2:
        raise UserError(f"residual.cutoff_hz={residual.cutoff_hz:g} is not below half of audio.sample_rate={audio.sample_rate}")
    if samples < (least := residual.taps + residual.n_fft - 1):
        raise UserError(
            f"audio.crop_seconds={audio.crop_seconds:g} are {samples} samples; residual.taps={residual.taps} and "
            f"residual.n_fft={residual.n_fft} need {least}"
        )
    return (1 + (samples - least) // residual.hop_length) * (residual.n_fft // 2 + 1) * COMPLEX_BYTES
