"""The GE2E loss: the published numbers in the published form, and what the corrected form promises."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional

from sourcetracing.models.losses.ge2e import Ge2eLoss, cosines_to_centroids
from tests.support.places import GOLDEN

CASES = json.loads((GOLDEN / "ge2e.json").read_text())["cases"]
PUBLISHED = {"normalize": False, "clamp_cosines": True}
TYPES = {"": (torch.float32, 1e-5), "_f64": (torch.float64, 1e-10)}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "ge2e.npz"))


@pytest.mark.parametrize(("number", "variant", "suffix"), list(product(range(len(CASES)), ("softmax", "contrast"), TYPES)))
def test_published_values_and_gradients(golden, number, variant, suffix):
    dtype, tolerance = TYPES[suffix]
    case, expected = CASES[number], CASES[number][variant + suffix]
    embeddings = torch.tensor(golden[f"case{number}/emb"], dtype=dtype, requires_grad=True)
    loss = Ge2eLoss(variant, scale=case["w"], offset=case["b"], **PUBLISHED).to(dtype)
    value = loss(embeddings)
    value.backward()
    found = [value.item(), loss.scale.grad.item(), loss.offset.grad.item()]
    np.testing.assert_allclose(found, [expected["loss"], expected["grad_w"], expected["grad_b"]], atol=tolerance, rtol=0)
    np.testing.assert_allclose(embeddings.grad, golden[f"case{number}/{variant}/grad_emb{suffix}"], atol=tolerance, rtol=0)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_published_cosines(golden, number):
    cosines = cosines_to_centroids(torch.tensor(golden[f"case{number}/emb"], dtype=torch.float64)).clamp(min=1e-6)
    np.testing.assert_allclose(cosines, golden[f"case{number}/cos_sim_clamped"], atol=1e-10)


def embeddings_of(classes: int = 4, utterances: int = 3, width: int = 6) -> torch.Tensor:
    return torch.randn(classes, utterances, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("variant", ["softmax", "contrast"])
def test_the_length_of_an_embedding_counts_only_as_published(variant):
    embeddings = embeddings_of()
    louder = embeddings.clone()
    louder[0, 0] *= 7
    corrected, published = Ge2eLoss(variant).double(), Ge2eLoss(variant, **PUBLISHED).double()
    torch.testing.assert_close(corrected(louder), corrected(embeddings))
    assert abs(published(louder) - published(embeddings)) > 1e-5


def test_negative_cosines_have_a_gradient_only_without_the_clamp():
    opposed = torch.tensor([[[1.0, 0.1], [-1.0, 0.1]], [[1.0, -0.1], [-1.0, -0.1]]], dtype=torch.float64)  # to all centroids
    assert (cosines_to_centroids(opposed) < 0).all()

    def gradient(**options) -> torch.Tensor:
        leaf = opposed.clone().requires_grad_()
        Ge2eLoss(**options).double()(leaf).backward()
        return leaf.grad

    assert gradient().any()
    assert not gradient(clamp_cosines=True).any()


def test_own_centroid_leaves_the_utterance_out():
    embeddings = embeddings_of()
    cosines = cosines_to_centroids(embeddings)
    others = embeddings[1, [0, 2]].mean(dim=0)
    assert cosines[1, 1, 1].item() == pytest.approx(functional.cosine_similarity(embeddings[1, 1], others, dim=0).item())
    assert cosines[1, 1, 3].item() == pytest.approx(functional.cosine_similarity(embeddings[1, 1], embeddings[3].mean(0), dim=0).item())
    with pytest.raises(ValueError, match="one utterance"):
        cosines_to_centroids(embeddings[:, :1])


def test_the_scale_learns_and_stays_positive():
    loss = Ge2eLoss(scale=0.01)
    optimizer = torch.optim.SGD(loss.parameters(), lr=1e3)
    shuffled = embeddings_of().float().transpose(0, 1).reshape(4, 3, 6)  # classes that mean nothing: the scale wants to fall
    loss(shuffled).backward()
    optimizer.step()
    assert loss.scale.item() != pytest.approx(0.01)
    with torch.no_grad():
        loss.scale.fill_(-3.0)
    loss.after_step()
    assert loss.scale.item() > 0
    assert not any(weight.requires_grad for weight in Ge2eLoss(fixed_scale=True).parameters())


def test_agrees_with_finite_differences():
    loss = Ge2eLoss("contrast").double()
    assert torch.autograd.gradcheck(loss, embeddings_of().requires_grad_())
    assert torch.autograd.gradcheck(Ge2eLoss().double(), embeddings_of().requires_grad_())
