"""MCLRec: learned augmenters beside random augmentations, encoder and augmenters trained in turn.

Paper: Qin et al., Meta-optimized Contrastive Learning for Sequential Recommendation, SIGIR 2023.

Departures. Defaults follow the authors' code where it differs from the paper; each choice is an argument of `build`:
- `schedule="theta,phi,theta"` (code): two steps of the encoder and one of the augmenters a batch; "theta,phi" (paper),
  "epochs" (each in its own epochs, another reading of the paper's algorithm 1), "joint" (MCLRec-J: all in one step). No
  gradient passes through an update.
- `contrast_scale="mean"` (code) over the 2B views; "sum" (paper) of both directions, twice as much.
- `margin_pairs="all"` (code): (h1, z2), (h2, z1), (z1, z2); "augmented" (paper): (z1, z2) alone.
- `margin_extrema="row"` (code), or "global" (paper). `margin_weight=0.1` of the contrast's own weight in the encoder's
  step, and as it is in the augmenters' (code); `margin_scaled=True` multiplies it by beta there too (paper).
- `normalise=True` (code): augmenters' outputs have unit norm, here guarded against 0.
- Masked items become the mask item (paper); the code hides them as padding, which right-padded rows cannot hold and no
  argument offers.
- `temperature=1` of all contrasts (paper); the code's learned contrasts keep 1 whatever is set.
- The softmax is over the items alone (code: the row of padding too).
- The weight of the first contrast, lambda, does not act on the augmenters and is left out of their step.
`preset="paper"` sets those in which the two differ to the paper's values where they are not given, "code" to the
code's, and batches to any 256 rows (`grouping="random"`), where ours hold rows of like length. The code selects by
MRR@10 under full-open, ours by NDCG@10 under full-mask. The paper implies one sequence a user, which `windows="whole"`
has; the code, and both presets, have every prefix. Beauty: lambda 0, beta .05; Sports .04, .4; Yelp .03, .1.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.errors import InputError
from recloom.methods import sasrec
from recloom.methods.about import About
from recloom.methods.causal_models import over
from recloom.methods.cl4srec import operators
from recloom.methods.composition import MakeBackbone, composed, with_presets
from recloom.nn.augmenters import get_augmenter
from recloom.objectives import NextItem
from recloom.objectives.info_nce import check_info_nce, info_nce
from recloom.objectives.margin import margin_regulariser
from recloom.training import Backbone, MakeOptimizer, Method, Stage, WindowsSchedule, next_item_loss
from recloom.views import Operator, two_different

ABOUT = About("Qin et al., Meta-optimized Contrastive Learning for Sequential Recommendation, SIGIR", 2023)

CODE: dict[str, Any] = {
    "schedule": "theta,phi,theta",
    "contrast_scale": "mean",
    "margin_pairs": "all",
    "margin_extrema": "row",
    "margin_scaled": False,
    "normalise": True,
}
PAPER: dict[str, Any] = {
    "schedule": "theta,phi",
    "contrast_scale": "sum",
    "margin_pairs": "augmented",
    "margin_extrema": "global",
    "margin_scaled": True,
    "normalise": False,
}
ALLOWED = {
    "schedule": ("theta,phi,theta", "theta,phi", "epochs", "joint"),
    "contrast_scale": ("mean", "sum"),
    "margin_pairs": ("all", "augmented"),
    "margin_extrema": ("row", "global"),
    "margin_scaled": (True, False),
    "normalise": (True, False),
}


class MCLRec(Method):
    """Two random views h1, h2 of a history, and two learned ones z1 = w1(h1), z2 = w2(h2).

    Theta is the encoder with its items, phi the augmenters. Per batch, with fresh dropout and the same random views:

        theta  on  next_item + lambda InfoNCE(h1, h2) + beta (learned + margin_weight R)
        phi    on  learned + margin_weight R
        learned =  InfoNCE(h1, z2) + InfoNCE(h2, z1) + InfoNCE(z1, z2)                      (equation 9)

    Args:
        backbone: reads the causal context.
        next_item: the main loss.
        operators: of the random views.
        augmenters: w1 and w2; the same module twice for a shared one.
        random_weight: lambda, of the contrast of the random views.
        learned_weight: beta, of the contrasts with learned views.
        margin_weight: of the margin regulariser beside the learned contrasts, gamma over beta.
        temperature: of all contrasts; the margin reads products as they are.
        schedule: of a batch's steps: "theta,phi,theta", "theta,phi", or "joint" for all in one; "epochs" has epochs of
            theta and of phi in turn.
        contrast_scale: a contrast is the "mean" over its 2B views, or the "sum" of both directions', twice as much.
        margin_pairs: the pairs the regulariser reads: "all" of equation 9's, or the "augmented" one alone.
        margin_extrema: whose least right and greatest wrong product it reads: each "row"'s, or "global", the batch's.
        margin_scaled: beta multiplies the regulariser in the augmenters' step too.
        normalise: learned views have unit norm.
    """

    def __init__(
        self,
        backbone: Backbone,
        next_item: NextItem,
        operators: list[Operator],
        augmenters: tuple[nn.Module, nn.Module],
        *,
        random_weight: float = 0.0,
        learned_weight: float = 0.05,
        margin_weight: float = 0.1,
        temperature: float = 1.0,
        make_optimizer: MakeOptimizer | None = None,
        **choices: Any,
    ) -> None:
        super().__init__(backbone, make_optimizer=make_optimizer)
        backbone.encoder.require("causal")
        check_info_nce(temperature)
        self.automatic_optimization = False
        self.next_item, self.operators = next_item, operators
        self.augmenters = nn.ModuleList(dict.fromkeys(augmenters))
        self.random_weight, self.learned_weight, self.margin_weight = random_weight, learned_weight, margin_weight
        self.temperature = temperature
        self.choices = {**CODE, **choices}
        for name, value in self.choices.items():
            if value not in ALLOWED[name]:
                raise InputError(f"{name}={value!r} is not known; choose one of {', '.join(map(str, ALLOWED[name]))}")

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> None:
        views = torch.cat(two_different(batch.items, self.operators, self.generator))
        theta, phi = self.optimizers()  # type: ignore[attr-defined]
        schedule = self.choices["schedule"]
        if schedule == "epochs":
            schedule = ("theta", "phi")[self.current_epoch % 2]
        for part in schedule.split(","):
            used = [phi] if part == "phi" else [theta, phi] if part == "joint" else [theta]
            loss = self.augmenter_loss(views) if part == "phi" else self.encoder_loss(batch, views)
            self.zero_grad()
            self.manual_backward(loss)
            for optimizer in used:
                optimizer.step()

    def encoder_loss(self, batch: SequenceBatch, views: Tensor) -> Tensor:
        """What theta learns from; gradients pass through the augmenters to it."""
        terms = {"next_item": next_item_loss(self.backbone, self.next_item, batch, self.generator)}
        if self.random_weight or self.learned_weight:
            one, two = self.backbone.last(views).chunk(2)
            if self.random_weight:
                terms["random"] = self.contrast(one, two)
            if self.learned_weight:
                terms["learned"], terms["margin"] = self.learned(one, two)
        beta = self.learned_weight
        return self.total({"random": self.random_weight, "learned": beta, "margin": beta * self.margin_weight}, **terms)

    def augmenter_loss(self, views: Tensor) -> Tensor:
        """What phi learns from; the encoder is a constant."""
        with torch.no_grad():
            one, two = self.backbone.last(views).chunk(2)
        learned, margin = self.learned(one, two)
        scale = self.learned_weight if self.choices["margin_scaled"] else 1.0
        loss = learned + self.margin_weight * scale * margin
        self.record(augmenters=loss)
        return loss

    def learned(self, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        """The contrasts of the learned views, and their margin regulariser."""
        first, second = self.augment(one, 0), self.augment(two, -1)
        pairs = [(one, second), (two, first), (first, second)]
        loss = torch.stack([self.contrast(*pair) for pair in pairs]).sum()
        extrema, held = self.choices["margin_extrema"], pairs if self.choices["margin_pairs"] == "all" else pairs[2:]
        return loss, torch.stack([margin_regulariser(*pair, extrema=extrema) for pair in held]).sum()

    def augment(self, states: Tensor, which: int) -> Tensor:
        found = self.augmenters[which](states)
        return F.normalize(found, dim=1) if self.choices["normalise"] else found

    def contrast(self, one: Tensor, two: Tensor) -> Tensor:
        scale = 2 if self.choices["contrast_scale"] == "sum" else 1
        return info_nce(one, two, temperature=self.temperature) * scale

    def configure_optimizers(self) -> Any:
        return self.make_optimizer(self.backbone.parameters()), self.make_optimizer(self.augmenters.parameters())


@with_presets(code=CODE | {"grouping": "random"}, paper=PAPER | {"grouping": "random"})
@composed(
    backbone=partial(sasrec.make_backbone, attention_dropout=0.5),
    training=partial(WindowsSchedule, windows="prefixes"),
)
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    training: WindowsSchedule,
    *,
    model: str = "sasrec",
    crop_ratio: float = 0.5,
    mask_ratio: float = 0.5,
    reorder_ratio: float = 0.8,
    augmenter: str = "mlp",
    shared: bool = False,
    random_weight: float = 0.0,
    learned_weight: float = 0.05,
    margin_weight: float = 0.1,
    temperature: float = 1.0,
    schedule: str = CODE["schedule"],
    contrast_scale: str = CODE["contrast_scale"],
    margin_pairs: str = CODE["margin_pairs"],
    margin_extrema: str = CODE["margin_extrema"],
    margin_scaled: bool = CODE["margin_scaled"],
    normalise: bool = CODE["normalise"],
    loss: str = "softmax",
    negatives: int = 1,
    precision: str = "auto",
) -> list[Stage]:
    """MCLRec from numbers; see `MCLRec`, `operators` and, for the main loss, `NextItem`.

    Args:
        model: "sasrec"; "gru4rec" and "caser" read `dim`, `length` and `dropout`, and refuse the Transformer's others.
        augmenter: "mlp", "attention" or "convolution".
        shared: one augmenter serves both views.
        temperature: of all contrasts; the margin reads products as they are.
        schedule: of the steps of a batch: "theta,phi,theta", "theta,phi", or "joint" for all in one. With "epochs",
            epochs of theta and of phi in turn; those of phi count among `epochs` and, as they leave validation as it
            is, among those that `patience` waits.
        windows: "prefixes" has one target a row (code); "whole" all targets of a history, several times cheaper.
        preset: "paper" or "code": what either has, for the arguments in which they differ and that are not given.
    """
    made = over(model, backbone, build)(catalog)
    first = get_augmenter(augmenter, made.encoder.dim)
    method = MCLRec(
        made,
        NextItem(loss, negatives=negatives, precision=precision),
        operators(catalog.mask_id, crop_ratio, mask_ratio, reorder_ratio, least=2),
        (first, first if shared else get_augmenter(augmenter, made.encoder.dim)),
        random_weight=random_weight,
        learned_weight=learned_weight,
        margin_weight=margin_weight,
        temperature=temperature,
        make_optimizer=training.optimizer(),
        schedule=schedule,
        contrast_scale=contrast_scale,
        margin_pairs=margin_pairs,
        margin_extrema=margin_extrema,
        margin_scaled=margin_scaled,
        normalise=normalise,
    )
    return [training.stage(method)]
