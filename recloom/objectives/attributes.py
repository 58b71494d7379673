"""Which attributes does an item have? A multi-label loss over the whole vocabulary, without a dense label matrix."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from recloom.objectives.chunks import LOGITS_PER_CHUNK


class _SoftplusSum(torch.autograd.Function):
    """`softplus(states @ table.T).sum()`, chunk by chunk; its gradients are formed in the forward pass."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor) -> Tensor:
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        total = states.new_zeros(())
        grad_states, grad_table = torch.empty_like(states), torch.zeros_like(table)
        rows = max(16, LOGITS_PER_CHUNK // len(table))
        for begin in range(0, len(states), rows):
            some = states[begin : begin + rows]
            logits = some @ table.t()
            total += F.softplus(logits).sum()
            if wanted:
                chances = logits.sigmoid_()
                torch.mm(chances, table, out=grad_states[begin : begin + rows])
                grad_table.addmm_(chances.t(), some)
        ctx.save_for_backward(grad_states, grad_table)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        grad_states, grad_table = ctx.saved_tensors
        return grad_states * grad, grad_table * grad


def attribute_cross_entropy(states: Tensor, table: Tensor, values: Tensor, offsets: Tensor) -> Tensor:
    """The sum of `BCE(sigma(state . attribute), has it)` over all states and the whole vocabulary.

    With a logit z and a label y, `BCE = softplus(z) - y z`, so the labels enter only through the sum of the
    vectors of the attributes an item has.

    Args:
        states: `(n, dim)`.
        table: `(n_attributes + 1, dim)`; index 0 is a class no item has.
        values, offsets: the attributes of the n items, flat: item i has `values[offsets[i]:offsets[i + 1]]`, so
            `offsets` is `(n + 1,)`.

    Source: Zhou et al., S3-Rec, CIKM 2020, equations 11 and 15, in the form of the authors' code. No logits
    outlive their chunk.
    """
    if not len(states):
        return states.sum() * 0.0
    positive = F.embedding_bag(values, table, offsets, mode="sum", include_last_offset=True)
    with torch.autocast(states.device.type, enabled=False):  # its products share one dtype, in mixed precision too
        return _SoftplusSum.apply(states.to(table.dtype), table) - (states * positive).sum()


def attribute_info_nce(states: Tensor, table: Tensor, values: Tensor, offsets: Tensor) -> Tensor:
    """The sum over items of the mean of `log(sum exp f(a')) - f(a)` over its attributes a; a' are those it has not.

    Args: as for `attribute_cross_entropy`; the vocabulary here is `table[1:]`.

    Source: Zhou et al., S3-Rec, CIKM 2020, equations 11 and 15 as printed, with the sign that makes them losses.
    `f = sigma(state . attribute)`, so every exponent lies in (0, 1), every term within 1 of `log` of the number of a'.
    """
    if not len(states):
        return states.sum() * 0.0
    counts = offsets.diff()
    row = torch.repeat_interleave(torch.arange(len(states), device=states.device), counts)
    scores = (states @ table.t()).sigmoid()
    outside = scores.clone()
    outside[row, values] = -torch.inf
    outside[:, 0] = -torch.inf
    return outside.logsumexp(1).clamp_min(0)[counts > 0].sum() - (scores[row, values] / counts[row]).sum()
