"""Softmax cross-entropy over the whole catalogue, with memory that stays flat in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recloom.objectives.chunks import chunks, kept_block


class _ChunkedSoftmax(torch.autograd.Function):
    """Mean of `-log softmax(states @ table.T)[targets]`; its gradients are formed in the forward pass."""

    # In bf16, `scatter_` copies the whole block on a CPU, which costs as much as the softmax; indexing does not.

    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        n, n_items = len(states), len(table)
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        low_table = table.detach().to(dtype)
        turned = low_table.t().contiguous()  # once: every product with a turned view would turn it again
        chunk, pieces = chunks(n, n_items)
        low_states = low_table.new_zeros(chunk * pieces, states.shape[1])
        low_states[:n] = states.detach()
        loss = torch.zeros((), dtype=torch.float32, device=states.device)
        index = torch.arange(chunk, device=states.device)
        if wanted:
            grad_states = torch.empty_like(low_states)
            grad_table = torch.zeros(table.shape, dtype=torch.promote_types(dtype, torch.float32), device=table.device)
        logits = kept_block("logits", chunk, n_items, low_states)
        chances = kept_block("chances", chunk, n_items, low_states)
        for begin in range(0, chunk * pieces, chunk):
            rows, target = low_states[begin : begin + chunk], targets[begin : begin + chunk]
            torch.mm(rows, turned, out=logits)
            torch.softmax(logits, 1, out=chances)
            chance = chances[index[: len(target)], target]
            loss -= chance.float().clamp_min(1e-37).log().sum()
            if wanted:
                chances[index[: len(target)], target] = chance - 1
                chances[len(target) :] = 0
                torch.mm(chances, low_table, out=grad_states[begin : begin + chunk])
                if dtype == grad_table.dtype:
                    grad_table.addmm_(chances.t(), rows)
                else:
                    grad_table += chances.t() @ rows
        if wanted:
            ctx.save_for_backward(grad_states[:n].to(states.dtype).div_(n), grad_table.div_(n))
        return loss / n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_states, grad_table = ctx.saved_tensors
        return grad_states * grad, grad_table * grad, None, None


def full_softmax(states: Tensor, table: Tensor, targets: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Mean softmax cross-entropy of each state's target among all items.

    Args:
        states: `(n, dim)`, one row a target; no padded rows.
        table: `(n_items + 2, dim)`; rows 0 and `n_items + 1` (padding, mask) do not compete.
        targets: `(n,)` int64 item ids 1..n_items.
        dtype: of the three products, `states.dtype` if None. `torch.bfloat16` keeps the sums over the
            batch in fp32; on processors with bf16 units it is several times faster.

    No logits outlive their chunk of rows, forward or backward, so memory does not grow with
    `n x n_items`. No targets at all give 0. Second derivatives are not offered.
    """
    if not len(targets):
        return states.sum() * 0.0 + table[:1].sum() * 0.0
    return _ChunkedSoftmax.apply(states, table[1:-1], targets - 1, dtype or states.dtype)
