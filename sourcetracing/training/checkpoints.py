"""Weights on disk: safetensors with their metadata in the header, complete or absent, and refused when damaged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sourcetracing.errors import UserError
from sourcetracing.runtime.files import atomic_path
from sourcetracing.training.published_names import load_published_system

METADATA_KEY = "story"  # in the header; the word of the first files, kept so that theirs can be read and new ones equal them


def save_checkpoint(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> None:
    """Writes tensors and JSON-able metadata in one file, so that the two can never disagree."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as partial:
        save_file(contiguous, partial, metadata={METADATA_KEY: json.dumps(metadata)})


def load_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors (on the CPU) and the metadata of a checkpoint. Raises `UserError` when it is missing or damaged."""
    with _opened(path) as file:
        metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
        return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 (safe_open is no dict)


def require_whole(path: Path) -> None:
    """Raises the `UserError` of `load_checkpoint` for one that is missing or cut off: by its header, so in no time at any size."""
    with _opened(path):
        pass


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise UserError(f"{path} is missing. Run: python scripts/05_train_matrix.py CONFIG.yaml")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}). Delete it and run the training again; it goes on from what is left.") from None


def learned_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What a checkpoint of ours holds: weights and buffers, but not the weights that never learn; those come from an SSL checkpoint."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def frozen_digest(model: torch.nn.Module) -> str:
    """Digest of the weights that never learn, by name and value; empty where there are none.

    A checkpoint holds the digest alone: a run that is scored with other frozen weights than it was trained with is another system.
    """
    digest = hashlib.blake2b(digest_size=16)
    frozen = [(name, parameter) for name, parameter in model.named_parameters() if not parameter.requires_grad]
    for name, parameter in frozen:
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().float().contiguous().numpy().data)
    return digest.hexdigest() if frozen else ""


def load_trained(model: torch.nn.Module, path: Path) -> dict[str, Any]:
    """Puts a checkpoint of ours into a model; returns its metadata. Raises `UserError`, also where the frozen weights are others."""
    tensors, metadata = load_checkpoint(path)
    load_weights(model, tensors, str(path))
    refuse_other_frozen_weights(model, metadata, path)
    return metadata


def refuse_other_frozen_weights(model: torch.nn.Module, metadata: dict[str, Any], path: Path) -> None:
    """Raises `UserError` where a checkpoint knows its frozen weights (earlier ones do not) and the model has others."""
    if "frozen" in metadata and metadata["frozen"] != frozen_digest(model):
        raise UserError(
            f"{path} was trained on top of other frozen weights than the SSL checkpoint at hand has: what ssl.model names has changed "
            "since. Put the earlier checkpoint back, or train again under another name"
        )


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The state of an optimizer as named tensors (steps, moments); its settings come from the configuration."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{index}.{key}": torch.as_tensor(value) for index, entry in state.items() for key, value in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Puts back what `optimizer_tensors` took."""
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        prefix, index, key = name.split(".", 2)
        assert prefix == "optimizer", name
        entries.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})


def load_weights(model: torch.nn.Module, tensors: dict[str, torch.Tensor], origin: str) -> None:
    """Copies named tensors into a model; refuses missing, unexpected or ill-shaped ones by name.

    A back-end that remembers its training rows has a memory as long as those: it makes room for what comes.
    """
    if hasattr(model, "make_room") and "memory" in tensors:
        model.make_room(len(tensors["memory"]))
    own = learned_tensors(model)
    if missing := sorted(set(own) - set(tensors)):
        raise UserError(f"{origin} lacks {missing[0]!r} (and {len(missing) - 1} more): it belongs to another back-end")
    if strangers := sorted(set(tensors) - set(own)):
        raise UserError(f"{origin} holds the unexpected {strangers[0]!r} (and {len(strangers) - 1} more): it belongs to another back-end")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise UserError(f"{origin}: {name} has shape {tuple(tensor.shape)}, but the settings ask for {tuple(own[name].shape)}")
    model.load_state_dict(tensors, strict=False)  # their names were compared above


def load_initial_weights(model: torch.nn.Module, backend: str, path: Path) -> None:
    """Our own .safetensors, or a published project's .pth/.pt, with its SSL encoder where it holds one (`published_names`).

    Raises `UserError` for another network than `model`, which names the setting to change.
    """
    if path.suffix == ".safetensors":
        tensors, _ = load_checkpoint(path)
        load_weights(model, tensors, str(path))
        return
    try:
        load_published_system(backend, model, _read_published(path))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _read_published(path: Path) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)  # weights_only: a pickle may run code, tensors may not
    except Exception as error:  # torch raises half a dozen kinds here, none of them documented
        raise UserError(f"{path} cannot be read as a checkpoint ({str(error).splitlines()[0]})") from None
    content = content.get("model_state_dict", content) if isinstance(content, dict) else None
    if not content or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"{path} is no state dict of tensors; save one with torch.save(model.state_dict(), path)")
    return {name.removeprefix("module."): value for name, value in content.items()}
