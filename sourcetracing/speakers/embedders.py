"""Networks that turn an utterance into a speaker embedding.

resemblyzer  256 numbers; a pip package that carries its weights (Apache 2.0), so it works without a network
ecapa2       192 numbers; what the paper used: TorchScript on the Hugging Face Hub (CC BY-NC 4.0). Such a file is a program as much as it is
             weights, so its bytes are compared with a checksum that the user pinned before any of it is run.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from sourcetracing.downloads.records import normal_checksum
from sourcetracing.errors import UserError
from sourcetracing.runtime.compute import prepare_device
from sourcetracing.runtime.extras import needs
from sourcetracing.settings.recorded import channel_recipe, cures_of
from sourcetracing.settings.schema import Settings

SAMPLE_RATE = 16000  # of both
ECAPA2_FILE = "ecapa2.pt"
Embedder = Callable[[np.ndarray], np.ndarray]  # (samples,) float32 at SAMPLE_RATE -> (D,) float32 of length one; for any number of threads


def embedder_key(settings: Settings) -> str:
    """Names network, channel and cures exactly, loading nothing: embeddings with another key are other embeddings. Raises `UserError`."""
    cures = (f"{name}={value}" for name, value in cures_of(settings.audio).items())
    return " ".join([_network_key(settings), *channel_recipe(settings.audio).values(), *cures])


def _network_key(settings: Settings) -> str:
    if settings.speakers.embedder == "ecapa2":
        return f"ecapa2 {_pinned_checksum(settings) or _refuse_unpinned(settings)}"
    with needs("speakers", "speakers.embedder=resemblyzer"):
        return f"resemblyzer {version('resemblyzer')}"


def load_embedder(settings: Settings) -> Embedder:
    """The network of `speakers.embedder` on the device of the settings. Raises `UserError`: not installed, not found, wrong checksum."""
    load = {"ecapa2": _load_ecapa2, "resemblyzer": _load_resemblyzer}[settings.speakers.embedder]
    network = load(settings)

    def embed(waveform: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            embedding = np.asarray(network(waveform), dtype=np.float32)
        return embedding / np.linalg.norm(embedding)

    return embed


# --- resemblyzer


def _load_resemblyzer(settings: Settings) -> Embedder:
    with needs("speakers", "speakers.embedder=resemblyzer"):
        from resemblyzer import VoiceEncoder, preprocess_wav  # takes seconds to import
    encoder = VoiceEncoder(prepare_device(settings.compute), verbose=False)

    def embed(waveform: np.ndarray) -> np.ndarray:
        voiced = preprocess_wav(waveform)  # louder if it is quiet, without long pauses
        return encoder.embed_utterance(voiced if len(voiced) else waveform)

    return embed


# --- ecapa2


def _load_ecapa2(settings: Settings) -> Embedder:
    device, path = prepare_device(settings.compute), _find_ecapa2(settings)
    content = path.read_bytes()  # once, so that what is compared is what is run
    expected, found = _pinned_checksum(settings), _checksum(content)
    if found != expected:
        raise UserError(f"{path} has checksum {found}, but speakers.ecapa2_checksum={expected}. It was not loaded")
    try:
        network = torch.jit.load(io.BytesIO(content), map_location=device).eval()
    except RuntimeError:
        raise UserError(f"{path} has the pinned checksum, but is no TorchScript file") from None

    def embed(waveform: np.ndarray) -> np.ndarray:
        # Utterances differ in length, and the compiler would optimise anew for each.
        with torch.jit.optimized_execution(False):
            return network(torch.from_numpy(waveform).to(device)[None]).float().cpu().numpy().reshape(-1)

    return embed


def _pinned_checksum(settings: Settings) -> str:
    text = settings.speakers.ecapa2_checksum
    checksum = normal_checksum(text)
    if checksum.startswith("md5:"):
        raise UserError(
            f"speakers.ecapa2_checksum={text}: MD5 is no protection against a forged file; write sha256:<64 hexadecimal digits>"
        )
    return checksum


def _refuse_unpinned(settings: Settings) -> str:
    path = _find_ecapa2(settings)
    raise UserError(
        f"{path} is TorchScript, which can run any code: compare its checksum with one you trust, then pin it with "
        f"speakers.ecapa2_checksum={_checksum(path.read_bytes())}"
    )


def _checksum(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _find_ecapa2(settings: Settings) -> Path:
    """The file on this disk; fetched from the Hub if it is not there yet."""
    name, revision = settings.speakers.ecapa2_id, settings.speakers.ecapa2_revision
    if Path(name).is_file():
        return Path(name)
    try:
        return Path(hf_hub_download(name, ECAPA2_FILE, revision=revision))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = next((line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"speakers.ecapa2_id={name}: {ECAPA2_FILE} is not on this machine and could not be fetched ({reason}). With a network run: "
            f"hf download {name} {ECAPA2_FILE} --revision {revision}; or use speakers.embedder=resemblyzer"
        ) from None
