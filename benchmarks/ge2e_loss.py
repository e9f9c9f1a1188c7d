"""The GE2E loss for all utterances at once against the straightforward loop over them, forward and backward, on one CPU thread.

Run   python benchmarks/ge2e_loss.py [classes utterances width]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sourcetracing.models.losses.ge2e import Ge2eLoss

SCALE, OFFSET, REPEATS = 10.0, -5.0, 20


def loop_loss(embeddings: Tensor) -> Tensor:
    """The softmax loss one utterance at a time: centroids with and without it, cosines, cross-entropy."""
    directions = functional.normalize(embeddings, dim=-1)
    losses = []
    for own, utterances in enumerate(directions):
        for number, utterance in enumerate(utterances):
            centroids = directions.mean(dim=1)
            others = torch.cat([utterances[:number], utterances[number + 1 :]])
            centroids = torch.cat([centroids[:own], others.mean(dim=0, keepdim=True), centroids[own + 1 :]])
            similarities = SCALE * functional.cosine_similarity(utterance[None], centroids) + OFFSET
            losses.append(functional.cross_entropy(similarities[None], torch.tensor([own])))
    return torch.stack(losses).mean()


def seconds_of(loss, embeddings: Tensor, repeats: int) -> tuple[float, float, Tensor]:
    """(median seconds, value, gradient) of forward and backward."""
    times = []
    for _ in range(repeats):
        leaf = embeddings.clone().requires_grad_()
        started = time.perf_counter()
        value = loss(leaf)
        value.backward()
        times.append(time.perf_counter() - started)
    return median(times), value.item(), leaf.grad


def main() -> None:
    torch.set_num_threads(1)
    num_classes, num_utterances, width = map(int, sys.argv[1:4]) if len(sys.argv) > 3 else (64, 10, 256)
    torch.manual_seed(0)
    embeddings = torch.randn(num_classes, num_utterances, width) + torch.randn(num_classes, 1, width)
    fast, value, gradient = seconds_of(Ge2eLoss(scale=SCALE, offset=OFFSET), embeddings, REPEATS)
    slow, same_value, same_gradient = seconds_of(loop_loss, embeddings, 3)
    print(f"N = {num_classes}, M = {num_utterances}, {width}-d, float32, one thread, forward + backward")
    print(f"loop over utterances  {1000 * slow:9.2f} ms   loss {same_value:.6f}")
    print(f"all at once           {1000 * fast:9.2f} ms   loss {value:.6f}")
    print(f"{slow / fast:.0f} times as fast; gradients differ by {(gradient - same_gradient).abs().max():.1e} at most")


if __name__ == "__main__":
    main()
