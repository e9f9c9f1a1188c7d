"""The SSL encoder that the settings name, frozen or to be trained; what can be wrong with a checkpoint, in one line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sourcetracing.errors import UserError
from sourcetracing.runtime.compute import encoder_precision, prepare_device, resolved_precision
from sourcetracing.runtime.extras import needs
from sourcetracing.runtime.files import digest_of_file, digest_of_json
from sourcetracing.settings.schema import Settings

if TYPE_CHECKING:
    from sourcetracing.models.frontends.ssl import SslEncoder
    from sourcetracing.models.frontends.ssl_finetune import TrainableSslEncoder

Encoder = TypeVar("Encoder", bound="SslEncoder")
_SCHEDULE = ("lr", "warmup_epochs")  # these of `finetune` are the optimizer's


def load_ssl(settings: Settings) -> SslEncoder:
    """The frozen encoder, cut at `ssl.layer`, on the device of the settings. Raises `UserError` as `load_trainable_ssl` does."""
    from sourcetracing.models.frontends.ssl import SslEncoder  # transformers takes seconds to import
    from sourcetracing.models.frontends.ssl_on_cpu import arrange_for_cpu

    device = prepare_device(settings.compute)
    encoder = _load(settings, SslEncoder).to(device)
    if device.type == "cpu" and resolved_precision(device, encoder_precision(settings.compute)) == "float32":
        arrange_for_cpu(encoder.network)
    return encoder


def load_trainable_ssl(settings: Settings) -> TrainableSslEncoder:
    """The encoder with what `finetune` says of it. Raises `UserError`: no such model, not here and no network, wrong weights or layer."""
    from sourcetracing.models.frontends.ssl_finetune import TrainableSslEncoder

    if settings.finetune.lora_rank:
        with needs("finetune", f"finetune.lora_rank={settings.finetune.lora_rank}"):
            import peft  # noqa: F401 (which the encoder imports for its LoRA matrices)
    options = {name: value for name, value in asdict(settings.finetune).items() if name not in _SCHEDULE}
    return _load(settings, TrainableSslEncoder, **options)


def _load(settings: Settings, build: Callable[..., Encoder], **options: Any) -> Encoder:
    from sourcetracing.models.frontends.ssl import SAMPLE_RATE

    ssl = settings.ssl
    if settings.audio.sample_rate != SAMPLE_RATE:
        raise UserError(f"audio.sample_rate={settings.audio.sample_rate}: SSL encoders hear {SAMPLE_RATE} Hz")
    if "{language}" in ssl.model:
        raise UserError(f"ssl.model={ssl.model} follows the training language: name one, for example train.languages=[en]")
    revision = None if Path(ssl.model).is_dir() else commit_of(ssl.model, ssl.revision) or ssl.revision
    try:
        return build(ssl.model, layer=ssl.layer, normalize=ssl.normalize, revision=revision, **options)
    except ValueError as error:
        raise UserError(f"ssl.model={ssl.model}: {_first_line(error)}") from None
    except OSError as error:
        raise UserError(_not_found(settings, error)) from None


def checkpoint_digest(model: str) -> str:
    """32 hex digits of a folder's configuration and weights: another network in the same folder is another store. "" for a Hub id."""
    files = sorted(file for file in Path(model).glob("*") if file.suffix in {".json", ".safetensors", ".bin"})
    return (
        digest_of_json([[file.name, _digest_once(file, file.stat().st_size, file.stat().st_mtime_ns)] for file in files]) if files else ""
    )


def commit_of(model: str, revision: str) -> str:
    """The commit that a revision of a Hub model means by the cache on this machine; "" for a folder, and where the cache does not tell."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.file_download import repo_folder_name

    if Path(model).is_dir() or re.fullmatch(r"[0-9a-f]{40}", revision):
        return "" if Path(model).is_dir() else revision
    try:
        reference = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model, repo_type="model") / "refs" / revision
    except HFValidationError:  # no Hub id: loading says so
        return ""
    return reference.read_text(encoding="utf-8").strip() if reference.is_file() else ""


def fetched_commit(model: str, revision: str) -> str:
    """`commit_of`, after asking the Hub for the configuration where the cache does not tell; "" where that fails, which loading reports."""
    return commit_of(model, revision) or (_ask_once(model, revision) if model.count("/") == 1 and not Path(model).exists() else "")


@lru_cache(maxsize=64)
def _ask_once(model: str, revision: str) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        hf_hub_download(model, "config.json", revision=revision)
    except (HfHubHTTPError, HFValidationError, OSError, ValueError):
        return ""
    return commit_of(model, revision)


@lru_cache(maxsize=64)
def _digest_once(file: Path, size_bytes: int, changed_ns: int) -> str:
    return digest_of_file(file)


def _not_found(settings: Settings, error: OSError) -> str:
    name = settings.ssl.model
    if Path(name).exists() or name.count("/") != 1 or name.startswith((".", "/")):
        return f"ssl.model={name} is no folder with a checkpoint (config.json, model.safetensors): {_first_line(error)}"
    where = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else _first_line(error)
    return (
        f"ssl.model={name} is not on this machine and could not be fetched ({where}). With a network run: "
        f"hf download {name} --revision {settings.ssl.revision}, or give a folder as ssl.model"
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
