"""GRU4Rec+: many shared negatives, of which those that score highest count most.

Paper: Hidasi and Karatzoglou, Recurrent Neural Networks with Top-k Gains for Session-based Recommendations, CIKM 2018.

Departures: the network is that of `gru4rec`, with one table for input and output, as in the authors' "constrained"
form, but a linear map of the states to its width and no biases, of items or of the recurrence. Rows are whole
histories in batches of like length instead of session-parallel ones that carry a state on, so the negatives of a
target are the targets of the other histories of its batch, at all positions, and `samples` more, drawn once a batch
with probability `count ** alpha`; an item that stands there several times is scored once and counts as often. What a
user looks for anywhere in the batch is no negative of the user's positions. Losses are means over targets and the
optimiser is Adam (sums and Adagrad with momentum in the authors' code). `elu` is the slope of the last activation
below 0, which leaves the order of items as it is; 0 means none. `logq` takes chances that sum to 1, of the batch's
targets as well as of the samples (counts and their powers in the authors' code).
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.negatives import PopularityNegatives
from recloom.errors import InputError, refuse_unread
from recloom.methods import gru4rec
from recloom.methods.about import About
from recloom.methods.composition import MakeBackbone, composed
from recloom.objectives import top_gains
from recloom.training import Backbone, MakeOptimizer, Method, Stage, WindowsSchedule

ABOUT = About("Hidasi and Karatzoglou, Recurrent Neural Networks with Top-k Gains, CIKM", 2018)


class GRU4RecPlus(Method):
    """Every state ranks its target above the targets of other histories and above popular samples.

    Args:
        backbone: reads the causal context.
        catalog: says how popular each item is in training.
        loss: "bpr-max", "top1-max", "bpr", "top1" or "softmax", see `top_gains`.
        samples: additional negatives of a batch.
        alpha: their chance is `count ** alpha`: 0 is uniform, 1 popularity.
        regularisation: of the negatives' scores, with "bpr-max".
        elu: alpha of the exponential linear unit over the scores; 0 for none, as always with "softmax".
        logq: with "softmax", that share of the log of an item's chance to stand there is taken off its logit: by its
            count where it is a target of the batch, by `count ** alpha` where it was sampled.
    """

    counts: Tensor
    asked: PopularityNegatives
    popular: PopularityNegatives | None

    def __init__(
        self,
        backbone: Backbone,
        catalog: Catalog,
        *,
        loss: str = "bpr-max",
        samples: int = 2048,
        alpha: float = 0.75,
        regularisation: float = 1.0,
        elu: float = 0.5,
        logq: float = 0.0,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(backbone, make_optimizer=make_optimizer)
        backbone.encoder.require("causal")
        if loss not in top_gains.LOSSES:
            raise InputError(f"loss={loss!r} is not known; choose one of {', '.join(top_gains.LOSSES)}")
        if samples < 0 or elu < 0:
            raise InputError(f"samples={samples} and elu={elu} must be at least 0")
        if not 0 <= logq <= 1:
            raise InputError(f"logq={logq} is a share and must lie in 0..1")
        if logq and loss != "softmax":
            raise InputError(f"logq={logq} corrects loss='softmax'; leave it at 0 with loss={loss!r}")
        self.loss, self.samples, self.regularisation, self.elu, self.logq = loss, samples, regularisation, elu, logq
        self.alpha, self.popular = alpha, None
        self.register_buffer("counts", torch.from_numpy(catalog.train_counts), persistent=False)

    def on_fit_start(self) -> None:
        """The chances, where the method is."""
        items = self.counts[1:-1].clamp(min=1)  # noise asks for items that nobody took
        self.asked = PopularityNegatives(F.pad(items, (1, 1)))
        if self.samples:
            self.popular = PopularityNegatives(self.counts, self.alpha)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        assert batch.targets is not None
        rows, columns = batch.targets.nonzero(as_tuple=True)
        states, targets = self.backbone(batch.items), batch.targets[rows, columns]
        drawn = targets[:0] if self.popular is None else self.popular.draw(self.samples, self.generator)
        others, place, counts = torch.cat([targets, drawn]).unique(return_inverse=True, return_counts=True)
        right = place[: len(targets)]
        whose = batch.users.unique(return_inverse=True)[1][rows]
        own = torch.zeros(len(batch), len(others), dtype=torch.bool, device=rows.device)
        own[whose, right] = True
        ranked = ~own.all(1)[whose]  # targets that there is something to rank above
        rows, columns, right, whose = rows[ranked], columns[ranked], right[ranked], whose[ranked]
        scores = self.activate(states[rows, columns] @ F.embedding(others, self.backbone.items.table()).t())
        if not len(rows):
            return self.total(ranked=scores.sum() * 0.0)
        good, bad = scores.gather(1, right[:, None])[:, 0], scores.masked_fill(own[whose], top_gains.LEFT_OUT)
        if not self.logq:
            return self.total(ranked=self.ranked(good, bad, counts.log()))
        sampled = torch.bincount(place[len(targets) :], minlength=len(others))
        chance = self.logq * self.asked.log_probabilities[others]
        weights = (counts - sampled) * (-chance).exp()
        if self.popular is not None:
            often = sampled * (-self.logq * self.popular.log_probabilities[others]).exp()
            weights = weights + torch.where(sampled > 0, often, 0.0)
        return self.total(ranked=self.ranked(good - chance[right], bad, weights.log()))

    def activate(self, scores: Tensor) -> Tensor:
        return F.elu(scores, self.elu) if self.elu and self.loss != "softmax" else scores

    def ranked(self, good: Tensor, bad: Tensor, log_counts: Tensor) -> Tensor:
        """The loss of `(n,)` right and `(n, k)` wrong scores; see `top_gains`."""
        if self.loss == "bpr-max":
            return top_gains.bpr_max(good, bad, log_counts, self.regularisation)
        losses = {"top1-max": top_gains.top1_max, "top1": top_gains.top1, "bpr": top_gains.bpr}
        return losses.get(self.loss, top_gains.softmax)(good, bad, log_counts)


@composed(backbone=gru4rec.make_backbone, training=partial(WindowsSchedule, batch_size=64))
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    training: WindowsSchedule,
    *,
    loss: str = "bpr-max",
    samples: int = 2048,
    alpha: float = 0.75,
    regularisation: float = 1.0,
    elu: float = 0.5,
    logq: float = 0.0,
) -> list[Stage]:
    """GRU4Rec+ from numbers; see `GRU4RecPlus`."""
    if loss != "bpr-max":
        unread = {"regularisation": regularisation}
        refuse_unread(build, unread, f"loss={loss!r} has no such term; leave it out, or choose loss='bpr-max'")
    if loss == "softmax":
        refuse_unread(build, {"elu": elu}, "loss='softmax' reads scores as they are; leave it out")
    if not samples:
        refuse_unread(build, {"alpha": alpha}, "samples=0 draws no items; leave it out, or give samples")
    method = GRU4RecPlus(
        backbone(catalog),
        catalog,
        loss=loss,
        samples=samples,
        alpha=alpha,
        regularisation=regularisation,
        elu=elu,
        logq=logq,
        make_optimizer=training.optimizer(),
    )
    return [training.stage(method)]
