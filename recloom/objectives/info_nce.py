"""Two views of the same thing should find each other among all others of the batch."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from recloom.errors import InputError
from recloom.objectives.known_slope import known_slope
from recloom.objectives.precision import at_least_fp32

SIMILARITIES = ("dot", "cosine")


def check_info_nce(temperature: float, similarity: str = "dot") -> None:
    """Refuse what `info_nce` cannot use, for methods to call when they are built."""
    if not temperature > 0:
        raise InputError(f"temperature={temperature} must be above 0")
    if similarity not in SIMILARITIES:
        raise InputError(f"similarity={similarity!r} is not known; choose one of {', '.join(SIMILARITIES)}")


def info_nce(
    one: Tensor,
    two: Tensor,
    *,
    temperature: float = 1.0,
    similarity: str = "dot",
    same: Tensor | None = None,
    real: Tensor | None = None,
    among: str = "views",
) -> Tensor:
    """Mean over the 2B views of `-log exp(s(v, v')) / sum over all other views exp(s(v, w))`, v' the partner of v.

    Args:
        one, two: `(batch, dim)`, partners row by row.
        temperature: divides every similarity; above 0.
        similarity: "dot" or "cosine".
        same: `(batch, batch)` bool, pairs of rows that are no negatives of each other, such as those with the same
            target; a row's own partner always stays.
        real: `(2 * batch,)` how many values at the end of each view are real at most, where 0 stands before them, whose
            products are spared; all if None.
        among: negatives of a view are all other "views", or, as in-batch pairs, the "partners" of other rows alone.

    With one row there is nothing to tell apart, and the loss is 0. Second derivatives are not offered.
    """
    check_info_nce(temperature, similarity)
    if among not in ("views", "partners"):
        raise InputError(f"among={among!r} is not known; choose 'views' or 'partners'")
    with torch.autocast(one.device.type, enabled=False):  # in mixed precision too: products may be large
        return _info_nce(at_least_fp32(torch.cat([one, two])), temperature, similarity, same, real, among)


def _info_nce(
    views: Tensor, temperature: float, similarity: str, same: Tensor | None, real: Tensor | None, among: str
) -> Tensor:
    n = len(views) // 2
    if similarity == "cosine":
        views = F.normalize(views, dim=1)
    scaled = views if temperature == 1 else views / temperature
    logits = scaled @ views.t() if real is None else products(views, real) / temperature
    with torch.no_grad():  # nobody else reads them, and the gradient there is 0
        logits.fill_diagonal_(-torch.inf)
    own = torch.arange(2 * n, device=views.device)
    partner = own.roll(n)
    if among == "partners" or same is not None:
        side = own < n
        out = (side[:, None] == side) if among == "partners" else torch.zeros_like(logits, dtype=torch.bool)
        if same is not None:
            out = out | same.repeat(2, 2)
        logits = logits.masked_fill(out.index_put((own, partner), out.new_zeros(())), -torch.inf)
    return _cross_entropy(logits, partner)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean of `-log softmax(logits)[targets]`: `(n, m)`, `(n,)`."""
    with torch.no_grad():
        rows = torch.arange(len(logits), device=logits.device)
        logarithms = logits.log_softmax(1)
        loss = -logarithms[rows, targets].mean()
        chances = logarithms.exp_()
        chances[rows, targets] -= 1
        slope = chances.div_(len(chances))
    return known_slope(logits, loss, slope)


def products(views: Tensor, real: Tensor) -> Tensor:
    """`views @ views.T` of rows that begin with padding, which is passed over: `(n, dim)` -> `(n, n)`.

    Columns are multiplied in bands from the last to the first, each for the rows alone that reach into it.

    Args:
        real: `(n,)` how many values at the end of each row are real; those before are 0, and get no gradient.
    """
    n, dim = views.shape
    real, order = real.sort()
    lengths, firsts, ends = real.tolist(), [0], [0]
    while firsts[-1] < n:
        ends.append(lengths[(firsts[-1] + n - 1) // 2])  # half of the rows that are left begin here
        firsts.append(int(torch.searchsorted(real, ends[-1], right=True)))
    sizes = [after - before for before, after in pairwise(ends)]
    _, *bands = views[order].split([dim - ends[-1], *reversed(sizes)], dim=1)
    total = views.new_zeros(n, n)
    for first, band in zip(firsts, reversed(bands), strict=False):
        rows = band[first:]
        total = total + F.pad(rows @ rows.t(), (first, 0, first, 0))
    back = order.argsort()
    return total[back][:, back]
