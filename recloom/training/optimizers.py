"""Makers of optimisers: a method receives one and applies it to its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch.nn import Parameter

MakeOptimizer = Callable[[Iterable[Parameter]], torch.optim.Optimizer]


def adam(lr: float = 1e-3, weight_decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.999)) -> MakeOptimizer:
    """Adam; `weight_decay` is the coupled L2 term of the published methods, added to the gradient."""

    def make(parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        made = torch.optim.Adam(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)
        made._step_supports_amp_scaling = False  # scaled gradients can then be clipped
        return made

    return make
