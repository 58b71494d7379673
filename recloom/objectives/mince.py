"""One prediction, several encodings of the right answer, all of them against those of the other items."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recloom.objectives.chunks import chunks, kept_block
from recloom.objectives.precision import at_least_fp32

KEYS_TOGETHER = 128
"""The items of a batch are taken as so many more that their number is a multiple of this: sizes of products recur."""


class _Mince(torch.autograd.Function):
    """Rows in chunks; gradients are formed in the forward pass, so that no logits are kept."""

    # In bf16, `scatter_` copies the whole block on a CPU, which costs as much as the softmax; indexing does not.

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
        dtype: torch.dtype,
    ) -> Tensor:
        (copies, n_keys, dim), n = keys.shape, len(predictions)
        places = -(-n_keys // KEYS_TOGETHER) * KEYS_TOGETHER
        low_keys = keys.new_zeros(copies, places, dim, dtype=dtype)
        low_keys[:, :n_keys] = keys.detach()
        flat = low_keys.view(-1, dim)
        turned = flat.t().contiguous()  # once: every product with a turned view would turn it again
        offsets = log_counts.new_full((len(log_counts), places), -torch.inf, dtype=dtype)
        offsets[:, :n_keys] = log_counts
        chunk, pieces = chunks(n, len(flat))
        low_rows = low_keys.new_zeros(chunk * pieces, dim)
        low_rows[:n] = predictions.detach() * scale
        losses, grad_rows = log_sought.new_empty(n, dtype=predictions.dtype), torch.empty_like(low_rows)
        grad_keys = torch.zeros(flat.shape, dtype=keys.dtype, device=keys.device)
        logits, chances = (kept_block(name, chunk, len(flat), low_rows) for name in ("logits", "chances"))
        index = torch.arange(chunk, device=keys.device)[:, None]
        first = torch.arange(copies, device=keys.device) * places
        for begin in range(0, chunk * pieces, chunk):
            rows, some = low_rows[begin : begin + chunk], slice(begin, begin + chunk)
            target, sought = targets[some, None] + first, log_sought[some, None]
            here = index[: len(target)]
            torch.mm(rows, turned, out=logits)
            right = logits[here, target].to(losses.dtype) + sought
            of_rows = offsets if len(offsets) == 1 else offsets[groups[some]]
            logits[: len(target)].view(len(target), copies, places).add_(of_rows[:, None])
            logits[here, target] = right.to(dtype)
            torch.softmax(logits, 1, out=chances)
            likeliest, chance = (block[: len(target)].amax(1).to(losses.dtype) for block in (logits, chances))
            every = likeliest - chance.log()
            if single or not inside:
                right = right - sought
            if inside:
                losses[some], shares = every - right.logsumexp(1), right.softmax(1)
            else:
                losses[some], shares = every - right.mean(1), torch.full_like(right, 1 / copies)
            chances[here, target] -= shares.to(dtype)
            chances[len(target) :] = 0
            torch.mm(chances, flat, out=grad_rows[some])
            if dtype == grad_keys.dtype:
                grad_keys.addmm_(chances.t(), rows)
            else:
                grad_keys += chances.t() @ rows
        ctx.save_for_backward(grad_rows[:n].to(predictions.dtype).mul_(scale), grad_keys.view_as(low_keys)[:, :n_keys])
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_predictions, grad_keys = ctx.saved_tensors
        return grad_predictions * grad, grad_keys * grad, *[None] * 8


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
    dtype: torch.dtype | None = None,
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
        dtype: of the three products; as of the predictions and keys, at least 32 bits, if None. `torch.bfloat16` keeps
            the right answers' logarithms and the sums over rows in fp32.

    With one copy and counts of one it is the softmax over the items. Memory does not grow with rows times keys.

    Source: Qiu et al., MMInfoRec, ICDM 2021, equations 5 and 6, and the authors' code.
    """
    if not len(predictions):
        return predictions.sum() * 0.0 + keys.sum() * 0.0
    groups = torch.zeros_like(targets) if groups is None else groups
    log_sought = log_counts[groups, targets] if log_sought is None else log_sought
    predictions, keys = at_least_fp32(predictions), at_least_fp32(keys)  # gradients are formed of the sums
    with torch.autocast(keys.device.type, enabled=False):
        return _Mince.apply(
            predictions, keys, targets, log_counts, groups, log_sought, scale, inside, single, dtype or keys.dtype
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
