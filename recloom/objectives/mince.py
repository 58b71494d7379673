"""One prediction, several encodings of the right answer, all of them against those of the other items."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LOGITS_AT_ONCE = 1 << 23


class _Mince(torch.autograd.Function):
    """Rows in chunks; gradients are formed in the forward pass, so that no logits are kept."""

    @staticmethod
    def forward(
        ctx: Any,
        predictions: Tensor,
        keys: Tensor,
        targets: Tensor,
        log_counts: Tensor,
        groups: Tensor,
        log_sought: Tensor,
        scale: float,
        inside: bool,
        single: bool,
    ) -> Tensor:
        copies, n_keys, dim = keys.shape
        flat, losses = keys.detach().reshape(-1, dim), predictions.new_empty(len(predictions))
        grad_predictions, grad_keys = torch.zeros_like(predictions), torch.zeros_like(flat)
        step, first = max(1, LOGITS_AT_ONCE // len(flat)), torch.arange(copies, device=keys.device) * n_keys
        for begin in range(0, len(predictions), step):
            rows = predictions.detach()[begin : begin + step]
            target, sought = targets[begin : begin + step, None], log_sought[begin : begin + step, None]
            logits = (rows @ flat.t()).mul_(scale).view(len(rows), copies, n_keys)
            logits += log_counts[groups[begin : begin + step]].scatter_(1, target, sought)[:, None]
            logits = logits.view(len(rows), -1)
            columns = target + first
            right = logits.gather(1, columns)
            every = logits.logsumexp(1)
            if single or not inside:
                right = right - sought
            if inside:
                losses[begin : begin + step], shares = every - right.logsumexp(1), right.softmax(1)
            else:
                losses[begin : begin + step], shares = every - right.mean(1), torch.full_like(right, 1 / copies)
            grad = logits.sub_(every[:, None]).exp_().scatter_add_(1, columns, -shares).mul_(scale)
            grad_predictions[begin : begin + step] = grad @ flat
            grad_keys += grad.t() @ rows
        ctx.save_for_backward(grad_predictions, grad_keys.view_as(keys))
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_predictions, grad_keys = ctx.saved_tensors
        return grad_predictions * grad, grad_keys * grad, *[None] * 7


def mince(
    predictions: Tensor,
    keys: Tensor,
    targets: Tensor,
    log_counts: Tensor,
    groups: Tensor | None = None,
    log_sought: Tensor | None = None,
    *,
    scale: float = 1.0,
    inside: bool = True,
    single: bool = False,
) -> Tensor:
    """The sum over rows of `-log sum_p k exp(s z_p) / sum_j sum_p k_j exp(s z_jp)`: MIL-NCE over copies p of items j.

    Args:
        predictions: `(rows, dim)`.
        keys: `(copies, items, dim)`, encodings of the same distinct items.
        targets: `(rows,)`, which of the items each row should find.
        log_counts: `(groups, items)`, how often each item stands among the candidates; -inf leaves one out. All 0 is
            one of each.
        groups: `(rows,)`, the group of each row; the first if None.
        log_sought: `(rows,)`, how often what each row looks for stands there, in place of its count in `log_counts`;
            the same if None.
        scale: multiplies every product; one over a temperature.
        inside: sum over the copies of the right answer inside the logarithm, else the mean of their logarithms.
        single: the right answer counts once in the numerator, however often it stands among the candidates.

    With one copy and counts of one it is the softmax over the items. Memory does not grow with rows times keys.

    Source: Qiu et al., MMInfoRec, ICDM 2021, equations 5 and 6, and the authors' code.
    """
    if not len(predictions):
        return predictions.sum() * 0.0 + keys.sum() * 0.0
    groups = torch.zeros_like(targets) if groups is None else groups
    log_sought = log_counts[groups, targets] if log_sought is None else log_sought
    dtype = torch.promote_types(keys.dtype, torch.float32)  # the gradient is formed of the sums, which need that much
    with torch.autocast(keys.device.type, enabled=False):
        return _Mince.apply(
            predictions.to(dtype), keys.to(dtype), targets, log_counts, groups, log_sought, scale, inside, single
        )


def candidate_counts(place: Tensor, n: int, temporal: bool, general: bool, once: bool = False) -> tuple[Tensor, Tensor]:
    """How often each distinct item stands among the candidates, and in the whole batch, where right answers count.

    Args:
        place: `(histories, length)`, which of the `n` distinct items stands there; below 0 for none.
        temporal: items of the same history are candidates.
        general: items of other histories are candidates.
        once: an item that stands there at all counts once.

    Returns:
        `(1, n)`, or `(histories, n)` if candidates differ, and `(n,)`.
    """
    own = place.new_zeros(len(place), n + 1).scatter_add_(1, (place + 1), torch.ones_like(place))[:, 1:]
    total = own.sum(0)
    found = total[None] if temporal and general else own if temporal else total - own
    return (found.clamp(max=1), total.clamp(max=1)) if once else (found, total)
