"""The optimizer of a training run and its learning rates (MCL-MLAAD paper, section 3.2; D19, D20)."""

from __future__ import annotations

import math

import torch
from torch import nn

from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import Train


def make_optimizer(model: nn.Module, settings: Settings, loss: nn.Module | None = None) -> torch.optim.Adam:
    """Adam over what learns; a fine-tuned encoder and the weights of a loss are parameter groups of their own, named encoder and loss."""
    rules = settings.train
    encoder = {id(parameter) for parameter in encoder_of(model).parameters()} if encoder_of(model) else set()
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"name": "encoder", "params": [parameter for parameter in learning if id(parameter) in encoder]},
        {"name": "backend", "params": [parameter for parameter in learning if id(parameter) not in encoder]},
    ]
    if loss:  # decay would pull its scale to 0
        groups.append({"name": "loss", "params": [weight for weight in loss.parameters() if weight.requires_grad], "weight_decay": 0.0})
    return torch.optim.Adam(
        [group for group in groups if group["params"]],
        lr=rules.lr,
        betas=(rules.beta_1, rules.beta_2),
        eps=rules.eps,
        weight_decay=rules.weight_decay,
    )


def encoder_of(model: nn.Module) -> nn.Module | None:
    """The fine-tuned encoder inside a network, if there is one (`networks.build_model`)."""
    return getattr(model, "encoder", None) if isinstance(model, nn.Sequential) else None


def decay(rules: Train, epoch: int) -> float:
    """lr_decay ** floor(epoch / lr_interval), epochs (or rounds, with train.steps) from 0 (D19)."""
    return rules.lr_decay ** (epoch // rules.lr_interval)


def learning_rates(settings: Settings, epoch: int, step: int, steps_per_epoch: int) -> dict[str, float]:
    """By parameter group, for a step (from 0) of a round, all by the same schedule and `train.warmup_steps`: train.lr, finetune.lr with its
    own linear warm-up besides, and metric_learning.loss_lr. epoch: the round; steps_per_epoch: of each round but the last.
    """
    rules, steps_before = settings.train, epoch * steps_per_epoch + step
    warmth = _warmth(steps_before, rules.warmup_steps)
    if rules.schedule == "cosine":
        factor = _cosine(steps_before - rules.warmup_steps, (rules.steps or rules.epochs * steps_per_epoch) - rules.warmup_steps)
    else:
        factor = decay(rules, epoch)
    return {
        "backend": rules.lr * factor * warmth,
        "encoder": settings.finetune.lr * factor * min(warmth, _warmth(steps_before, settings.finetune.warmup_epochs * steps_per_epoch)),
        "loss": settings.metric_learning.loss_lr * factor * warmth,
    }


def _warmth(steps_before: int, warmup_steps: int) -> float:
    return min(1.0, (steps_before + 1) / warmup_steps) if warmup_steps else 1.0


def _cosine(steps_before: int, num_steps: int) -> float:
    """From 1 before the first step to 0 after the last one."""
    return (1 + math.cos(math.pi * max(0, steps_before) / num_steps)) / 2 if num_steps > 0 else 1.0


def set_learning_rates(optimizer: torch.optim.Optimizer, rates: dict[str, float]) -> None:
    """Gives each parameter group its own."""
    for group in optimizer.param_groups:
        group["lr"] = rates[group["name"]]
