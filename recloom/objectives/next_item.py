"""What should come next: the losses of a state against its target and the rest of the catalogue.

Every loss takes states `(n, dim)` of supervised positions only, the item table `(n_items + 2, dim)`, targets
`(n,)` and, where it samples, negatives: `(n, k)` of each row's own or `(k,)` shared by the batch.
Every loss is a mean over the n targets. A negative that is its row's target is left out, unless
`mask_same_target=False` of the in-batch softmax says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.negatives import PopularityNegatives, uniform, uniform_outside
from recloom.errors import InputError, refuse_unread
from recloom.objectives.precision import at_least_fp32, product_dtype
from recloom.objectives.softmax import full_softmax


def _scores(states: Tensor, table: Tensor, items: Tensor) -> Tensor:
    """`(n, dim)` against `(n,)`, `(n, k)` or shared `(k,)` items given as `(1, k)`."""
    if items.dim() == 2 and items.shape[0] == 1:
        return states @ F.embedding(items[0], table).t()
    vectors = F.embedding(items, table)
    return (states * vectors).sum(-1) if items.dim() == 1 else torch.einsum("nd,nkd->nk", states, vectors)


def _wrong(targets: Tensor, negatives: Tensor) -> Tensor:
    """Which negatives are not their row's target, `(n, k)`: those shared by a batch may be."""
    return negatives != targets[:, None]


def sampled_softmax(
    states: Tensor,
    table: Tensor,
    targets: Tensor,
    negatives: Tensor,
    log_probabilities: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """Softmax of the target among itself and sampled items.

    Args:
        negatives: `(n, k)` or `(1, k)`.
        log_probabilities: `(n_items + 2,)` log of the chance that the sampler draws each item; it is taken
            from the negatives' logits together with `log k` (logQ correction). None leaves the logits as
            they are, as the literature does with uniform sampling. The target is never corrected: it
            is there with certainty, not drawn.
        scale: multiplies every logit before the correction.
    """
    good = _scores(states, table, targets)[:, None] * scale
    bad = _scores(states, table, negatives) * scale
    if log_probabilities is not None:
        bad = bad - log_probabilities[negatives] - math.log(negatives.shape[1])
    bad = bad.masked_fill(~_wrong(targets, negatives), -torch.inf)
    return (torch.logsumexp(torch.cat([good, bad], 1), 1) - good[:, 0]).mean()


def in_batch_softmax(states: Tensor, table: Tensor, targets: Tensor, mask_same_target: bool = True) -> Tensor:
    """Softmax of each target among the targets of its batch, which items enter as often as they are targets.

    Without a correction for that, what is learnt is how much likelier a state makes an item than it is by itself, not
    how likely it is: popular items rank lower than under a softmax over all items. Memory grows with the targets times
    the distinct ones among them.

    Args:
        mask_same_target: targets that are the same item are no negatives of each other.

    Source: Ma et al., DSSRec, KDD 2020, equation 6 with one intent, with `mask_same_target=False` and states over the
    square root of the width.
    """
    if not len(targets):
        return states.sum() * 0.0 + table[:1].sum() * 0.0
    items, which, counts = targets.unique(return_inverse=True, return_counts=True)
    scores = at_least_fp32(states @ F.embedding(items, table).t())
    often = counts.to(scores.dtype).log().expand_as(scores)
    if mask_same_target:
        often = often.scatter(1, which[:, None], 0.0)
    return (torch.logsumexp(scores + often, 1) - scores.gather(1, which[:, None])[:, 0]).mean()


def binary_cross_entropy(states: Tensor, table: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """`-log sigma(target) - sum log(1 - sigma(negative))`, SASRec's own loss (Kang and McAuley 2018, section III.E)."""
    good, bad = _scores(states, table, targets), _scores(states, table, negatives)
    return (F.softplus(-good) + (F.softplus(bad) * _wrong(targets, negatives)).sum(-1)).mean()


def generalised_binary_cross_entropy(
    states: Tensor, table: Tensor, targets: Tensor, negatives: Tensor, calibration: float = 0.75
) -> Tensor:
    """gBCE (Petrov and Macdonald, RecSys 2023): the target's probability is raised to a power beta below 1.

    Args:
        calibration: t of the paper. With `alpha = k / (n_items - 1)`, `beta = alpha (t (1 - 1/alpha) + 1/alpha)`;
            0 gives plain BCE, 1 an unbiased probability.

    `-log sigma(s)^beta` equals `beta softplus(-s)`, so no transformed logit has to be formed. As in the
    paper the negatives' terms are summed and the whole divided by k + 1.
    """
    k = negatives.shape[-1]
    alpha = k / (len(table) - 3)
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    good, bad = _scores(states, table, targets), _scores(states, table, negatives)
    return ((beta * F.softplus(-good) + (F.softplus(bad) * _wrong(targets, negatives)).sum(-1)) / (k + 1)).mean()


def bayesian_personalised_ranking(states: Tensor, table: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """`-log sigma(target - negative)`, the mean over a row's negatives (Rendle et al. 2009)."""
    good, bad = _scores(states, table, targets), _scores(states, table, negatives)
    wrong = _wrong(targets, negatives)
    return ((F.softplus(bad - good[:, None]) * wrong).sum(1) / wrong.sum(1).clamp(min=1)).mean()


def lead(states: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """By how much targets' scores exceed the mean of all items'; label smoothing adds a share of it."""
    return (states * (F.embedding(targets, table) - table[1:-1].mean(0))).sum(1).mean()


LOSSES = ("softmax", "sampled-softmax", "in-batch-softmax", "bce", "gbce", "bpr")


@dataclass
class NextItem:
    """A next-item loss with its numbers: states and targets in, a scalar out. It keeps no model.

    Args:
        loss: "softmax" (every item), "sampled-softmax", "in-batch-softmax", "bce", "gbce" or "bpr". In-batch, all other
            targets of the batch are the negatives: with windows="prefixes" one of each row, else those of the row
            itself too; with grouping="length" those of rows of like length.
        negatives: how many items a sampled loss draws for each target, or for the whole batch where they are shared.
        shared_negatives: one set of negatives for all rows of a batch, from `sampler`; else each row draws its own
            uniform ones outside its items.
        sampler: "uniform" or "popularity" (shared negatives only; the softmax then takes the logQ correction).
        alpha: popularity is `count ** alpha`.
        mask_same_target: in the in-batch softmax, targets that are the same item are no negatives of each other.
        calibration: t of gBCE: 0 is plain BCE, 1 an unbiased probability.
        logits: "dot", or "cosine": states and items are put on the unit sphere before their product.
        temperature: divides the logits.
        label_smoothing: share of the target's probability that the full softmax spreads evenly over all items.
        precision: of the products of the full softmax, "fp32", "bf16" or "auto" (bf16 where the processor
            has units for it).
    """

    loss: str = "softmax"
    negatives: int = 1
    shared_negatives: bool = False
    sampler: str = "uniform"
    alpha: float = 1.0
    mask_same_target: bool = True
    calibration: float = 0.75
    logits: str = "dot"
    temperature: float = 1.0
    label_smoothing: float = 0.0
    precision: str = "auto"
    counts: Tensor | None = None

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise InputError(f"loss={self.loss!r} is not known; choose one of {', '.join(LOSSES)}")
        if self.sampler not in ("uniform", "popularity"):
            raise InputError(f"sampler={self.sampler!r} is not known; choose 'uniform' or 'popularity'")
        reason = f"loss={self.loss!r} does not read it; leave it out, or choose "
        if self.loss in ("softmax", "in-batch-softmax"):
            of_samples = ("negatives", "shared_negatives", "sampler", "alpha")
            unread = {name: getattr(self, name) for name in of_samples}
            refuse_unread(NextItem, unread, reason + "a sampled loss, such as bce")
        if self.sampler == "popularity" and not self.shared_negatives:
            raise InputError("sampler='popularity' needs shared_negatives=true: its negatives are drawn for a batch")
        if self.logits not in ("dot", "cosine"):
            raise InputError(f"logits={self.logits!r} is not known; choose 'dot' or 'cosine'")
        if self.negatives < 1:
            raise InputError(f"negatives={self.negatives}: a sampled loss needs at least 1")
        if self.temperature <= 0:
            raise InputError(f"temperature={self.temperature} must be above 0")
        if not 0 <= self.calibration <= 1:
            raise InputError(f"calibration={self.calibration} must lie in 0..1")
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"label_smoothing={self.label_smoothing} must be at least 0 and below 1")
        if self.label_smoothing and self.loss != "softmax":
            raise InputError(
                f"label_smoothing={self.label_smoothing}: only loss='softmax' smooths labels; leave it out beside "
                f"loss={self.loss!r}"
            )
        if self.loss != "in-batch-softmax":
            refuse_unread(NextItem, {"mask_same_target": self.mask_same_target}, reason + "in-batch-softmax")
        if self.loss != "gbce":
            refuse_unread(NextItem, {"calibration": self.calibration}, reason + "gbce")
        product_dtype(self.precision, torch.device("cpu"))
        self._popular: PopularityNegatives | None = None

    def __call__(
        self,
        states: Tensor,
        table: Tensor,
        batch: SequenceBatch,
        generator: torch.Generator,
        temperature: Tensor | None = None,
    ) -> Tensor:
        """The loss of every position that has a target.

        Args:
            states: `(batch, length, dim)`, or `(targets, dim)` of the positions with a target, row by row.
            table: `(n_items + 2, dim)`.
            batch: with its targets.
            generator: of the negatives, on the states' device.
            temperature: instead of the own one: a scalar that the caller learns.
        """
        assert batch.targets is not None
        at = batch.targets.flatten().nonzero()[:, 0]
        targets = batch.targets.flatten()[at]
        if states.dim() == 3:
            states = states.flatten(0, 1)[at]
        if self.logits == "cosine":
            states, table = F.normalize(states, dim=-1), F.normalize(table, dim=-1)
        if temperature is not None or self.temperature != 1.0:
            states = states / (self.temperature if temperature is None else temperature)
        if self.loss == "softmax":
            exact = full_softmax(states, table, targets, product_dtype(self.precision, states.device))
            return exact + self.label_smoothing * lead(states, table, targets) if self.label_smoothing else exact
        if self.loss == "in-batch-softmax":
            return in_batch_softmax(states, table, targets, self.mask_same_target)
        negatives, log_q = self._draw(batch, at, len(table) - 2, generator)
        if self.loss == "sampled-softmax":
            return sampled_softmax(states, table, targets, negatives, log_q)
        if self.loss == "bce":
            return binary_cross_entropy(states, table, targets, negatives)
        if self.loss == "gbce":
            return generalised_binary_cross_entropy(states, table, targets, negatives, self.calibration)
        return bayesian_personalised_ranking(states, table, targets, negatives)

    def _draw(
        self, batch: SequenceBatch, at: Tensor, n_items: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Negatives `(targets, k)` or `(1, k)`, and the log chance of each item where popularity draws."""
        if not self.shared_negatives:
            rows = torch.cat([batch.items, batch.targets], 1)  # type: ignore[list-item]
            drawn = uniform_outside(rows, (*batch.items.shape, self.negatives), n_items, generator)
            return drawn.flatten(0, 1)[at], None
        if self.sampler == "uniform":
            return uniform((1, self.negatives), n_items, generator, batch.items.device), None
        if self._popular is None:
            if self.counts is None:
                raise InputError("sampler='popularity' needs the training counts of the items")
            self._popular = PopularityNegatives(self.counts.to(batch.items.device), self.alpha)
        return self._popular.draw(self.negatives, generator)[None], self._popular.log_probabilities
