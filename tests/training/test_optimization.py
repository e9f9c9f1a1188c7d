"""The optimizer against its equations, computed apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from sourcetracing.settings.schema import Settings
from sourcetracing.training.optimization import make_optimizer


def test_adam_takes_the_steps_of_its_paper():
    """Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1, with weight decay added to the gradient, in float64 by NumPy."""
    settings = Settings()
    rules = settings.train
    model = nn.Linear(5, 3, bias=False)
    optimizer = make_optimizer(model, settings)
    draw = np.random.default_rng(1)
    weight = model.weight.detach().double().numpy().copy()
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step in range(1, 8):
        gradient = draw.standard_normal(weight.shape)
        model.weight.grad = torch.from_numpy(gradient).float()
        optimizer.step()
        gradient = gradient + rules.weight_decay * weight
        first = rules.beta_1 * first + (1 - rules.beta_1) * gradient
        second = rules.beta_2 * second + (1 - rules.beta_2) * gradient**2
        corrected = first / (1 - rules.beta_1**step), second / (1 - rules.beta_2**step)
        weight -= rules.lr * corrected[0] / (np.sqrt(corrected[1]) + rules.eps)
        np.testing.assert_allclose(model.weight.detach().numpy(), weight, rtol=0, atol=1e-6)
