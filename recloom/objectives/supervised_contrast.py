"""States before the same item should be alike, those before other items not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def supervised_contrast(states: Tensor, targets: Tensor, temperature: float = 0.1) -> Tensor:
    """Mean over states of the mean, over others with the same target, of `-log share` of their similarity.

    The share is that of `exp(cosine / temperature)` among all other states. A state whose target no other one has is
    left out; 0 if there is none.

    Args:
        states: `(n, dim)`.
        targets: `(n,)` item ids.

    Source: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, equation 2, with targets as classes.
    """
    on_sphere = F.normalize(states, dim=1)
    itself = torch.eye(len(states), dtype=torch.bool, device=states.device)
    logits = (on_sphere @ on_sphere.t() / temperature).masked_fill(itself, -torch.inf)
    same = (targets[:, None] == targets) & ~itself
    found = same.any(1)
    if not bool(found.any()):
        return states.sum() * 0.0
    logits, same = logits[found], same[found]
    right = logits.masked_fill(~same, 0).sum(1) / same.sum(1)
    return (logits.logsumexp(1) - right).mean()
