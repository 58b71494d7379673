"""DSSRec: the past predicts its next item and, one disentangled intent at a time, the whole future.

Paper: Ma et al., Disentangled Self-Supervision in Sequential Recommenders, KDD 2020. No code of the authors is public.

Departures. What the paper leaves open is an argument of `build`, with these defaults:
- The encoder is a single-head SASRec, `block="original"`; every re-implementation uses the "bert" one.
- Both losses are divided by the batch (the paper writes sums); with Adam only the weight decay tells the difference.
- What the paper's search chose is not reported: width 64, depth 2, K 4, lambda .5, both dropout rates of .5 and no
  decay are ours. They are where a search starts: K 1 measured better on four data sets, lambda 0 where tried.
- A batch holds 128 pairs (user, t) drawn alike over all pairs, as in the paper. `grouping="length"` takes histories of
  like length together, which is faster but brings pairs of one user into one batch, where each is a wrong answer to
  the other, more often than chance. A past and a future keep their items nearest to t. `cuts="one"` has one t of each
  user an epoch, drawn anew, as re-implementations do: no two of a batch are of one user, and an epoch is much shorter.
- Gradients flow into the future's side too (`stop_gradient=True` for not). Next items that a batch holds twice are
  wrong answers to each other, and so are pairs of one user; no option leaves them out.
- `two_stage=True` is how re-implementations use it: the objective pre-trains the encoder alone, and next-item
  prediction fine-tunes it; theirs is with `loss="bce"`.
- `future="items"` and "next-three" take the mean over the items (the paper writes a sum, and tells no scale); their
  wrong answers are the next items of the other rows.
- The encoder's weights start as in the library's other Transformers (the paper's software draws Glorot-uniform ones).
  Of the intents' parts the paper tells the start of the biases of the sums alone; prototypes start like those, the
  other biases at 0, positions normal within .02.
- Trained on what stands before the validation item (the reference of pop-100 trains on that item too).
- The negatives of pop-100 are drawn by training counts alone; the paper's reference counts held-out actions too.
- Histories are answered by products alone, which rank by how much likelier a history makes an item than it is anyway:
  right for the paper's pop-100, whose candidates are drawn by popularity. `popularity=1` ranks by how likely items are,
  which full-mask asks for; see `Popularity`.
- Selection is on validation NDCG@10 under full-mask.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD, Catalog
from recloom.data.windows import past_and_future, whole_histories
from recloom.errors import InputError, refuse_unread
from recloom.methods import sasrec
from recloom.methods.about import About
from recloom.methods.causal_models import over
from recloom.methods.composition import MakeBackbone, composed
from recloom.nn import IntentDisentangling
from recloom.nn.popularity import Popularity
from recloom.objectives import NextItem
from recloom.objectives.intents import sequence_to_item, sequence_to_sequence, trusted
from recloom.training import Backbone, MakeOptimizer, Method, NextItemPrediction, Schedule, Stage

ABOUT = About("Ma et al., Disentangled Self-Supervision in Sequential Recommenders, KDD", 2020)

FUTURES = {"intents": 0, "none": 0, "next-three": 3, "items": None}
"""What is reconstructed of the future: its intents (the method), nothing, or the next three or all items one by one."""

CUTS = {"all": past_and_future, "one": whole_histories}
"""Every place where a history can be cut into a past and a future, or one of them, drawn anew each epoch."""


class DSSRec(Method):
    """K intents of a past, trained against its next item and the intents of its future.

    Args:
        backbone: reads the causal context.
        popularity: what items' counts add to their scores; it has no part in training.
        intents: K, the vectors that a history is read as.
        trusted_share: lambda, the share of (row, intent) pairs that are trusted; 0 trains on next items alone.
        future: what is reconstructed of it; the rows of the paper's Table 2: "intents" (0), "none" (1), "items" (2),
            "next-three" (3).
        stop_gradient: the future's side is a constant.
        cuts: rows are cut where `past_and_future` says ("all"), or whole histories at a place drawn each time ("one").

    A history is served by its K intents and the largest of their products with an item.
    """

    def __init__(
        self,
        backbone: Backbone,
        popularity: Popularity | None = None,
        *,
        intents: int = 4,
        trusted_share: float = 0.5,
        future: str = "intents",
        stop_gradient: bool = False,
        cuts: str = "all",
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(backbone, make_optimizer=make_optimizer)
        backbone.encoder.require("causal")
        if future not in FUTURES:
            raise InputError(f"future={future!r} is not known; choose one of {', '.join(FUTURES)}")
        if cuts not in CUTS:
            raise InputError(f"cuts={cuts!r} is not known; choose one of {', '.join(CUTS)}")
        if not 0 <= trusted_share <= 1:
            raise InputError(
                f"trusted_share={trusted_share} must lie in 0..1: the share of future intents that is trusted"
            )
        if intents < 1:
            raise InputError(f"intents={intents}: at least 1 is needed")
        self.trusted_share = trusted_share if future == "intents" else 0.0
        self.future, self.stop_gradient, self.cuts = future, stop_gradient, cuts
        self.intents = IntentDisentangling(backbone.encoder.dim, intents, backbone.encoder.length)
        self.popularity = popularity or Popularity(torch.ones(backbone.items.n_items + 2))
        self.bias_columns = self.popularity.columns

    def read(self, items: Tensor) -> Tensor:
        """The intents of rows of items, `(batch, K, dim)`."""
        return self.intents(self.backbone(items), items != PAD)

    def read_both(self, past: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
        """The intents of pasts as inputs and of futures, back to front, as labels, from one pass of the encoder."""
        width = max(past.shape[1], future.shape[1])
        both = torch.cat([F.pad(items, (0, width - items.shape[1])) for items in (past, reverse(future))])
        (one, two), (mine, theirs) = self.backbone(both).chunk(2), (both != PAD).chunk(2)
        return self.intents(one, mine), self.intents(two, theirs, label=True)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        past, future = split(batch, self.length, self.generator if self.cuts == "one" else None)
        intents, label = self.read_both(past, future) if self.trusted_share else (self.read(past), None)
        table = self.backbone.items.table()
        following = F.embedding(future[:, 0], table)
        terms: dict[str, Tensor] = {}
        if self.future in ("intents", "none"):
            terms["next_item"] = sequence_to_item(intents, following).mean()
        else:
            terms["items"] = self.each_item(intents, following, future[:, : FUTURES[self.future]], table)
        if label is not None:
            losses = sequence_to_sequence(intents, label.detach() if self.stop_gradient else label)
            terms["future"] = trusted(losses, self.trusted_share) / len(past)
        return self.total({}, **terms)

    def each_item(self, intents: Tensor, following: Tensor, future: Tensor, table: Tensor) -> Tensor:
        """Every item of the future by itself: the mean over a row's items, then over rows."""
        rows, _ = (future != PAD).nonzero(as_tuple=True)
        losses = sequence_to_item(intents, following, F.embedding(future[future != PAD], table), rows)
        return (losses / (future != PAD).sum(1)[rows]).sum() / len(future)

    def queries(self, batch: SequenceBatch) -> Tensor:
        return self.popularity.of_queries(self.read(batch.items))

    def catalogue(self) -> Tensor:
        return self.popularity.of_items(self.backbone.items.table())


def split(batch: SequenceBatch, length: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """The two sides of rows, each of the at most `length` items nearest to the cut, oldest first, right-padded.

    Rows are from `past_and_future`; with a generator, of any windows, and cut before one of their targets, drawn alike.
    """
    assert batch.targets is not None
    items, targets = batch.whole(), batch.targets != PAD
    cut = targets.int().argmax(1)[:, None] + 1
    if generator is not None:
        drawn = torch.rand(len(items), 1, generator=generator, device=items.device, dtype=torch.float64)
        cut = cut + (drawn * targets.sum(1, keepdim=True)).long()
    total = (items != PAD).sum(1, keepdim=True)
    at = torch.arange(items.shape[1], device=items.device)

    def between(begin: Tensor, end: Tensor) -> Tensor:
        place = begin + at[: min(length, int((end - begin).max()))]
        return items.gather(1, place.clamp(max=items.shape[1] - 1)).masked_fill(place >= end, PAD)

    return between((cut - length).clamp(min=0), cut), between(cut, total)


def reverse(items: Tensor) -> Tensor:
    """Right-padded rows back to front, still right-padded."""
    lengths = (items != PAD).sum(1, keepdim=True)
    place = lengths - 1 - torch.arange(items.shape[1], device=items.device)
    return items.gather(1, place.clamp(min=0)).masked_fill(place < 0, PAD)


@composed(
    hidden=("heads", "inner", "activation"),
    backbone=partial(sasrec.make_backbone, heads=1, attention_dropout=0.5, block="original", positions="from_end"),
    training=partial(Schedule, batch_size=128),
)
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    training: Schedule,
    *,
    model: str = "sasrec",
    intents: int = 4,
    trusted_share: float = 0.5,
    future: str = "intents",
    stop_gradient: bool = False,
    cuts: str = "all",
    popularity: float = 0.0,
    two_stage: bool = False,
    loss: str = "softmax",
    precision: str = "auto",
    grouping: str = "random",
) -> list[Stage]:
    """DSSRec from numbers; see `DSSRec`.

    Args:
        model: "sasrec"; "gru4rec" and "caser" read `dim`, `length` and `dropout`, and refuse the Transformer's others.
        trusted_share: lambda, the share of a batch's (row, intent) pairs whose future is learnt, the easiest; 0 learns
            next items alone. With `future="intents"` alone.
        stop_gradient: the future's side is a constant. With `future="intents"` alone.
        cuts: an epoch has "all" pairs of a past and a future (paper), or "one" of each history, drawn anew.
        popularity: weight of the logarithm of an item's training count in its score: 0 is published, 1 suits hits among
            all items, see `Popularity`. Batches of `cuts="one"` hold items of long histories more seldom than counts
            say.
        two_stage: pre-train the encoder by this objective, then fine-tune it on next items.
        loss, precision: read by the second stage alone, see `NextItem`; a loss without it is refused.
        batch_size: of both stages; the second's rows are of like length.
        grouping: batches of the objective hold any pairs ("random"), or those of like length ("length").
    """
    if not two_stage:
        refuse_unread(build, {"loss": loss}, "it is the second stage's; leave it out, or say two_stage=True")
    else:
        refuse_unread(build, {"popularity": popularity}, "two_stage=True ends with next items alone; leave it out")
    if future != "intents":
        unread = {"trusted_share": trusted_share, "stop_gradient": stop_gradient}
        refuse_unread(build, unread, f"future={future!r} reads no intents of the future; leave it out")
    if not trusted_share:
        refuse_unread(build, {"stop_gradient": stop_gradient}, "trusted_share=0 reads no future; leave it out")
    next_item = NextItem(loss, precision=precision)
    made, make_optimizer = over(model, backbone, build)(catalog), training.optimizer()
    counts, scale = torch.from_numpy(catalog.train_counts), made.encoder.dim**-0.5
    method = DSSRec(
        made,
        Popularity(counts, popularity, scale),
        intents=intents,
        trusted_share=trusted_share,
        future=future,
        stop_gradient=stop_gradient,
        cuts=cuts,
        make_optimizer=make_optimizer,
    )
    options = {"grouping": grouping, "counted": "rows"}
    if not two_stage:
        return [training.stage(method, CUTS[cuts], **options)]
    joint = replace(training, seen_items=False).stage(method, CUTS[cuts], name="pretrain", **options)
    tuned = NextItemPrediction(made, next_item, make_optimizer=make_optimizer)
    return [joint, training.stage(tuned)]
