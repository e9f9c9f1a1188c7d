"""Where a training stands within a round, and what else it takes to go on from there with the same bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

PREFIX = "generator."
DEVICES = ("cpu", "cuda")  # whose generators can be put back


@dataclass
class Position:
    """The steps done of a round: how many, what they summed up to (loss, right rows, rows), the seconds since the round began.

    generators: the random states after them, where an interrupted training goes on; none at the beginning of a round, which is seeded.
    """

    step: int = 0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(3))
    seconds: float = 0.0
    generators: dict[str, Tensor] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """All but the generators, for JSON, which keeps every bit of a float."""
        return {"step": self.step, "sums": self.sums.tolist(), "seconds": self.seconds}

    @classmethod
    def read(cls, facts: dict[str, Any], generators: dict[str, Tensor]) -> Position:
        """Of `facts` and `random_states`."""
        return cls(facts["step"], np.array(facts["sums"]), facts["seconds"], generators)


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Those of the global generators that dropout, LayerDrop and SpecAugment draw from (`loop.seed_dropout`), on the CPU."""
    _, keys, place, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 (the transformers library draws from it)
    states = {
        "torch": torch.get_rng_state(),
        "numpy": torch.tensor([*keys.tolist(), place, has_gauss]),
        "numpy_gauss": torch.tensor([gauss], dtype=torch.float64),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return {f"{PREFIX}{name}": state for name, state in states.items()}


def restore_random_states(states: dict[str, Tensor], device: torch.device) -> None:
    """Puts back what `random_states` took."""
    torch.set_rng_state(states[f"{PREFIX}torch"])
    *keys, place, has_gauss = states[f"{PREFIX}numpy"].tolist()
    gauss = states[f"{PREFIX}numpy_gauss"].item()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), place, has_gauss, gauss))  # noqa: NPY002
    if device.type == "cuda" and f"{PREFIX}cuda" in states:
        torch.cuda.set_rng_state(states[f"{PREFIX}cuda"], device)
