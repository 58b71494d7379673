"""S3-Rec: pre-train with what items, attributes, sequences and segments say of each other, then predict the next item.

Paper: Zhou et al., S3-Rec: Self-Supervised Learning for Sequential Recommendation with Mutual Information Maximization,
CIKM 2020.

Departures. Defaults follow the authors' code where it differs from the paper; every choice is an argument of `build`:
- `attribute_view="states"` (code): associated attributes are read off the contextual state; "embedding" (paper): off
  the item's own vector.
- `attribute_loss="bce"` (code): over the whole vocabulary, with a class no item has; "infonce" (paper).
- `item_loss="nested"`, `segment_loss="nested"` (code): one negative and two nested sigmoids; "pairwise" without the
  inner ones; "infonce" (paper; all other items, all foreign segments of the batch); "softmax" (items only).
- `bilinear_bias=True` (code; the paper's forms have none). `reduction="sum"` (code), or "mean" over rows.
- `mask_last="always"` (code), or "random" (paper). `activation="gelu"` (code), or "relu" (paper).
- Batches of 100 for 150 epochs (code, for Beauty, Toys and LastFM; 100 epochs for Sports and Yelp; paper: 200, 100).
- Every prefix of the last 50 training items is a row (code); `pretrain_windows="whole"` takes each history once,
  several times cheaper. Prefixes of one item are left out: with the last position hidden, nothing of them is seen.
- Batches hold rows of like length and equal numbers of items, not of rows.
- `model` is what is pre-trained and fine-tuned: "sasrec", or another of `pretrained_models.MODELS` (the paper's figure
  3). "autoint" and "caser" take over the embeddings alone, which a Transformer of the same numbers pre-trains. What
  pre-training is worth to a model is told by the same command with `pretrain_epochs=0`; the loss, weight decay and
  first vectors are those of this file, not of the model's own.
- Fine-tuning is by softmax over all items; `loss="bce"` (code) gives the published numbers, "bpr" is the paper's.
- Ours alone: foreign segments come from training items only (the code's from all, held-out ones too); negatives are
  real items outside the row (the code's may be the mask); repeated attributes count once; a history is hidden by
  removing its items, where the code sets their scores to 0 and lets padding and mask compete.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD, Catalog
from recloom.data.negatives import uniform_outside
from recloom.data.windows import get_windows, prefixes
from recloom.errors import InputError, refuse_unread
from recloom.items import AttributeEmbedding
from recloom.methods.about import About
from recloom.methods.composition import composed
from recloom.methods.pretrained_models import RECURRENT, fine_tuning, make_backbone
from recloom.nn import Ragged
from recloom.objectives import NextItem, full_softmax
from recloom.objectives.attributes import attribute_cross_entropy, attribute_info_nce
from recloom.objectives.ranked import nested_sigmoid, pairwise, sigmoid_info_nce
from recloom.training import Backbone, MakeOptimizer, Method, Schedule, Stage
from recloom.views import cut_segment, mask_items

ABOUT = About("Zhou et al., S3-Rec, CIKM", 2020, "needed")

TERMS = ("aap", "mip", "map", "sp")
CHOICES = {
    "mask_last": ("always", "random"),
    "attribute_view": ("states", "embedding"),
    "attribute_loss": ("bce", "infonce"),
    "item_loss": ("nested", "pairwise", "infonce", "softmax"),
    "segment_loss": ("nested", "pairwise", "infonce"),
    "reduction": ("sum", "mean"),
}


class S3Pretraining(Method):
    """The four pretext objectives over any backbone.

    A row is hidden in part and read in `context`; G are its states. AAP and MAP ask which attributes the visible and
    the hidden items have, MIP which item was hidden, SP whether a segment belongs to the rest of its row.

    Args:
        backbone: anything that reads `context`.
        catalog: the attributes.
        weights: of the terms "aap", "mip", "map" and "sp"; a term of weight 0 costs nothing.
        mask_rate: probability that an item is hidden.
        context: what is read of a hidden row, "bidirectional" or "causal".
        bilinear_bias: the four bilinear forms have a bias.
        attributes: an embedding that a later stage shares; its table is then the one that AAP and MAP train.
        mask_last: the last item is hidden "always", or at "random" like the others.
        attribute_view: AAP reads attributes off the contextual "states", or off the items' own "embedding".
        attribute_loss: of AAP and MAP: "bce" over all attributes, or "infonce".
        item_loss: of MIP: "nested" sigmoids of one negative, "pairwise" without the inner ones, "infonce" or "softmax"
            over all items.
        segment_loss: of SP: "nested", "pairwise" or "infonce" over the foreign segments of the batch.
        reduction: of all four over rows, "sum" or "mean".

    Raises:
        InputError: the catalog has no attributes but AAP or MAP is asked for; or a context the encoder cannot read.

    Trained alone it already recommends: a history ends in the mask, and MIP's product ranks what it hides.
    """

    def __init__(
        self,
        backbone: Backbone,
        catalog: Catalog,
        weights: dict[str, float],
        *,
        context: str = "bidirectional",
        mask_rate: float = 0.2,
        bilinear_bias: bool = True,
        attributes: AttributeEmbedding | None = None,
        make_optimizer: MakeOptimizer | None = None,
        **choices: str,
    ) -> None:
        if backbone.encoder.length < 2:
            raise InputError("length=1 leaves no room for the mask behind the last item; choose at least 2")
        super().__init__(backbone, length=backbone.encoder.length - 1, make_optimizer=make_optimizer)
        backbone.encoder.require(context)
        self.wanted = {name for name in TERMS if weights.get(name)}
        if self.wanted & {"aap", "map"} and not catalog.n_attributes:
            raise InputError(
                "s3rec: the items of this data have no attributes. Give them with `recloom prepare LOG --items ITEMS "
                "--attributes COLUMN`, or train s3rec-mip, which needs none"
            )
        if not 0 < mask_rate < 1:
            raise InputError(f"mask_rate={mask_rate} must lie between 0 and 1")
        self.weights, self.context, self.mask_rate = weights, context, mask_rate
        self.choices = {name: allowed[0] for name, allowed in CHOICES.items()} | choices
        for name, value in self.choices.items():
            if value not in CHOICES[name]:
                raise InputError(f"{name}={value!r} is not known; choose one of {', '.join(CHOICES[name])}")
        dim = backbone.encoder.dim
        if self.choices["attribute_view"] == "embedding" and backbone.items.dim != dim:
            raise InputError(
                f"attribute_view='embedding' needs item vectors as wide as the states ({dim}); these are "
                f"{backbone.items.dim} wide. Choose attribute_view='states'"
            )
        self.bilinear = nn.ModuleDict({name: nn.Linear(dim, dim, bias=bilinear_bias) for name in sorted(self.wanted)})
        for name, parameter in self.bilinear.named_parameters():
            nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.normal_(parameter, 0, 0.02)
        if self.wanted & {"aap", "map"}:
            if attributes is not None:
                self.handed_on = attributes
            elif not isinstance(getattr(backbone.items, "attributes", None), AttributeEmbedding):
                self.attributes = nn.Parameter(torch.randn(catalog.n_attributes + 1, dim) * 0.02)
            self.attributes_of = Ragged(catalog.attribute_offsets, catalog.attribute_values)
        self.fillers: Tensor | None = None

    def on_fit_start(self) -> None:
        """Foreign segments are cut from all training histories, laid end to end."""
        _, items = self.trainer.datamodule.actions()  # type: ignore[attr-defined]
        self.fillers = torch.from_numpy(items.astype(np.int64)).to(self.device)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        items, mask, terms = batch.whole(), self.backbone.items.mask_id, {}
        if self.wanted - {"sp"}:
            last = self.choices["mask_last"] == "always"
            seen, hidden = mask_items(items, mask, self.mask_rate, self.generator, always_last=last)
            visible, of_states = (items != PAD) & ~hidden, self.choices["attribute_view"] == "states"
            if "aap" in self.wanted and of_states:
                states = self.backbone(seen, self.context)
                guesses = states[hidden]
            else:  # states of hidden items are all that is read
                guesses = self.backbone.at(seen, hidden, self.context)
            if "aap" in self.wanted:
                views = states[visible] if of_states else self.backbone.items(items[visible])
                terms["aap"] = self.attribute_loss("aap", views, items[visible])
            if "map" in self.wanted:
                terms["map"] = self.attribute_loss("map", guesses, items[hidden])
            if "mip" in self.wanted:
                terms["mip"] = self.item_loss(guesses, items, hidden)
        if "sp" in self.wanted:
            fillers = items[items != PAD] if self.fillers is None else self.fillers
            views = torch.cat(cut_segment(items, mask, fillers, self.generator))
            terms["sp"] = self.segment_loss(*self.backbone.last(views, self.context).chunk(3))
        rows = len(items) if self.choices["reduction"] == "mean" else 1
        return self.total(self.weights, **{name: term / rows for name, term in terms.items()})

    def attribute_loss(self, term: str, states: Tensor, items: Tensor) -> Tensor:
        """AAP (equation 11) and MAP (15): states `(n, dim)` against the attributes of items `(n,)`, summed."""
        loss = attribute_cross_entropy if self.choices["attribute_loss"] == "bce" else attribute_info_nce
        return loss(self.bilinear[term](states), self.attribute_table(), *self.attributes_of(items))

    def attribute_table(self) -> Tensor:
        """`(n_attributes + 1, dim)`: those of the backbone's items if they read attributes, else the pretext's own."""
        read = getattr(self, "handed_on", None) or getattr(self.backbone.items, "attributes", None)
        return read.weight if isinstance(read, AttributeEmbedding) else self.attributes

    def item_loss(self, states: Tensor, items: Tensor, hidden: Tensor) -> Tensor:
        """MIP (equation 13): states `(n, dim)` of the hidden positions against what stood there, summed."""
        asked, table, targets = self.bilinear["mip"](states), self.backbone.items.table(), items[hidden]
        if self.choices["item_loss"] == "softmax":
            return full_softmax(asked, table, targets) * len(targets)
        if self.choices["item_loss"] == "infonce":
            scores = asked @ table[1:-1].t()
            at = targets[:, None] - 1
            return sigmoid_info_nce(scores.gather(1, at)[:, 0], scores.scatter(1, at, -torch.inf)).sum()
        drawn = uniform_outside(items, tuple(items.shape), self.backbone.items.n_items, self.generator)[hidden]
        good, bad = (asked * F.embedding(torch.stack([targets, drawn]), table)).sum(-1)
        return (nested_sigmoid if self.choices["item_loss"] == "nested" else pairwise)(good, bad).sum()

    def segment_loss(self, context: Tensor, segment: Tensor, foreign: Tensor) -> Tensor:
        """SP (equation 17): the states of rows, of their segments and of foreign ones, `(batch, dim)` each, summed."""
        asked = self.bilinear["sp"](context)
        good = (asked * segment).sum(-1)
        if self.choices["segment_loss"] == "infonce":
            return sigmoid_info_nce(good, asked @ foreign.t()).sum()
        bad = (asked * foreign).sum(-1)
        return (nested_sigmoid if self.choices["segment_loss"] == "nested" else pairwise)(good, bad).sum()

    def stage(self, windows: str, batch_size: int | None, epochs: int) -> Stage:
        """The stage that trains it: no look at validation, batches by items. Prefixes are those of the latest rows."""
        cut = partial(prefixes, latest=self.backbone.encoder.length) if windows == "prefixes" else get_windows(windows)
        return Stage(self, epochs, cut, batch_size, counted="items", monitor=None, name="pretrain")

    def queries(self, batch: SequenceBatch) -> Tensor:
        items = F.pad(batch.items, (0, 1))
        items[torch.arange(len(items), device=items.device), batch.lengths] = self.backbone.items.mask_id
        asked = self.backbone.last(items, self.context)
        return (self.bilinear["mip"](asked) if "mip" in self.wanted else asked)[:, None]


@composed(training=partial(Schedule, epochs=200))
def build(
    catalog: Catalog,
    training: Schedule,
    *,
    model: str = "sasrec",
    context: str = "bidirectional",
    dim: int = 64,
    layers: int = 2,
    heads: int = 2,
    length: int = 50,
    dropout: float = 0.5,
    attention_dropout: float | None = 0.5,
    activation: str = "gelu",
    positions: str = "from_end",
    aap_weight: float = 0.2,
    mip_weight: float = 1.0,
    map_weight: float = 1.0,
    sp_weight: float = 0.5,
    mask_rate: float = 0.2,
    mask_last: str = "always",
    attribute_view: str = "states",
    attribute_loss: str = "bce",
    item_loss: str = "nested",
    segment_loss: str = "nested",
    bilinear_bias: bool = True,
    reduction: str = "sum",
    pretrain_windows: str = "prefixes",
    pretrain_batch_size: int = 100,
    pretrain_epochs: int = 150,
    loss: str = "softmax",
    negatives: int = 1,
    precision: str = "auto",
) -> list[Stage]:
    """Pre-training and fine-tuning of one backbone; without weights or epochs of the first, fine-tuning alone.

    See `S3Pretraining`, and `make_backbone` for the numbers of the encoder.

    Args:
        model: what is pre-trained and fine-tuned: "sasrec", "sasrec-f", "gru4rec", "gru4rec-f" or "fdsa" whole,
            "autoint" or "caser" by their embeddings, with `weight_decay` as given here.
        context: what pre-training reads, "bidirectional" or "causal", which "gru4rec" and "gru4rec-f" need; fine-tuning
            reads the causal context.
        aap_weight: of associated attribute prediction: which attributes the visible items have.
        mip_weight: of masked item prediction.
        map_weight: of masked attribute prediction: which attributes the hidden items have.
        sp_weight: of segment prediction: whether a segment belongs to the rest of its row.
        pretrain_windows: how training histories become rows of pre-training: "prefixes" or "whole", see `get_windows`.
        pretrain_batch_size: average rows of a batch of pre-training.
        pretrain_epochs: of pre-training, which `epochs` does not limit; 0 leaves it out.
        loss, negatives, precision: of fine-tuning, see `NextItem`.
    """
    numbers: dict[str, Any] = {"dim": dim, "length": length, "dropout": dropout}
    of_transformer: dict[str, Any] = {"layers": layers, "heads": heads, "attention_dropout": attention_dropout}
    of_transformer |= {"activation": activation, "positions": positions}
    backbone = make_backbone(model, catalog, numbers, of_transformer, build)
    if model == "autoint" and loss != "bce":
        refuse_unread(build, {"loss": loss}, "model='autoint' tells pairs apart by bce; leave it out")
    next_item = NextItem("bce" if model == "autoint" else loss, negatives=negatives, precision=precision)
    tuning, attributes = fine_tuning(
        model, catalog, backbone, next_item, training, layers=layers, heads=heads, **numbers
    )
    weights = {"aap": aap_weight, "mip": mip_weight, "map": map_weight, "sp": sp_weight}
    if not any(weights.values()) or not pretrain_epochs:
        return [tuning]
    if model in RECURRENT and context != "causal":
        raise InputError(f"model={model!r} reads one direction, so pre-training needs context='causal'; say so")
    pretraining = S3Pretraining(
        backbone,
        catalog,
        weights,
        context=context,
        mask_rate=mask_rate,
        mask_last=mask_last,
        attribute_view=attribute_view,
        attribute_loss=attribute_loss,
        item_loss=item_loss,
        segment_loss=segment_loss,
        bilinear_bias=bilinear_bias,
        reduction=reduction,
        attributes=attributes,
        make_optimizer=training.optimizer(),
    )
    return [pretraining.stage(pretrain_windows, pretrain_batch_size, pretrain_epochs), tuning]
