"""The GE2E loss for all utterances at once against the straightforward loop over them, forward and backward, on one CPU thread.

Both give the same loss and the same gradient, which is checked.
Run     python benchmarks/ge2e_loss.py [rounds=5] [classes=64] [utterances=10] [width=256]      (about 20 s)
"""

from __future__ import annotations

import sys
import time
from functools import partial

import torch
from _rounds import Bench
from torch import Tensor
from torch.nn import functional

from sourcetracing.models.losses.ge2e import Ge2eLoss

SCALE, OFFSET = 10.0, -5.0


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


def gradient_of(loss, embeddings: Tensor) -> Tensor:
    """Forward and backward."""
    leaf = embeddings.clone().requires_grad_()
    loss(leaf).backward()
    return leaf.grad


def seconds_of(loss, embeddings: Tensor, repeats: int) -> float:
    """Seconds of one, the mean of `repeats` in a row: one alone is too short for a clock."""
    started = time.perf_counter()
    for _ in range(repeats):
        gradient_of(loss, embeddings)
    return (time.perf_counter() - started) / repeats


def main(words: list[str]) -> None:
    """Both, in turns."""
    options = {"rounds": 5, "classes": 64, "utterances": 10, "width": 256}
    with Bench(__file__, words, options, {"classes": 4, "utterances": 3, "width": 8}) as bench:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        classes, utterances, width = bench["classes"], bench["utterances"], bench["width"]
        embeddings = torch.randn(classes, utterances, width) + torch.randn(classes, 1, width)
        fast = Ge2eLoss(scale=SCALE, offset=OFFSET)
        torch.testing.assert_close(fast(embeddings), loop_loss(embeddings))
        torch.testing.assert_close(gradient_of(fast, embeddings), gradient_of(loop_loss, embeddings), rtol=1e-4, atol=1e-6)
        ways = {"straightforward": partial(seconds_of, loop_loss, embeddings, 1), "ours": partial(seconds_of, fast, embeddings, 20)}
        bench.compare(f"GE2E loss and gradient, {classes} classes x {utterances} utterances x {width}", ways, unit="ms")


if __name__ == "__main__":
    main(sys.argv[1:])
