"""MMInfoRec: predict the encoding of what comes next, with a memory, and with many dropout encodings as right answers.

Paper: Qiu et al., Memory Augmented Multi-Instance Contrastive Predictive Coding for Sequential Recommendation, ICDM
2021. The tables and equations of the paper follow a reconstruction from its prose and the authors' code.

Departures. Defaults follow the authors' code where it differs from the paper; most choices are arguments of `build`:
- `logit_scale` multiplies products, as the number called tau does in the code; the paper divides. `temperature` is one
  over it and may be given instead. Beauty .3, Sports .6, Toys .1, Yelp 3.
- `items="attcc"` (code); "att" (paper), "meancc" (with the mean over real attributes, which the code's mask inverts),
  and "id" for items without attributes.
- `addressing="linear"` (code) or "mlp" (paper). `memory_dropout=0.2`, `key_dropout=0.5` (code) or 0 (paper).
- `candidates="occurrences"` (code): an item that stands several times in the batch counts so many times;
  "distinct" (paper) counts each once. `positives="all"` (code) or "single", which moves the loss by constants alone, as
  the copies of an item are those of all its occurrences.
- `invalid_rows="counted"` (code): rows whose later steps lie behind the end of a history count in the mean as zero;
  "left-out" does not count them.
- `init="uniform"` (code): every parameter, gains of norms too, is uniform within 1/sqrt(dim), 1/8 at 64; "default" is
  the library's own.
- Items without an action in training have an own vector of zero; an attribute that an item names twice counts once.
- Batches hold rows of like length and equal numbers of targets; `grouping="random"` (code) draws 256 users alike.
- Each distinct item of a batch is encoded once a copy, so that its occurrences share a draw of dropout; the code
  encodes every occurrence. Rows hold `length` inputs and the target after them (code: 50 items, 49 inputs).
- Weights are selected by one metric, NDCG@10; `valid_metric="any3"` (code) takes the last epoch in which HR@5, NDCG@5
  or HR@10 was above its value in the epoch taken before.
- Seen items are no candidates under full-mask; the code scores them 0, as full-zero does. Padding is never ranked, as
  it is in the code.
- `precision="auto"` forms products in bf16 where the processor has units for it (code: fp32).
- Histories are answered by products alone (code), which rank by how much likelier a history makes an item than it is
  anyway; `popularity=1` ranks by how likely it is, see `Popularity`.
`mince="outside"` takes the mean of logarithms instead of the logarithm of a sum; `temporal=False` and `general=False`
leave out other items of the same history, and items of other histories (`windows="whole"` alone; in overlapping rows of
other windows an item counts as often as rows hold it). `loss="bpr"` (figure 5, whose draw of negatives is not told)
ranks what comes next above one other item of the batch, drawn uniformly for each prediction.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD, Catalog
from recloom.errors import InputError, refuse_unread
from recloom.items import IdEmbedding, ItemsByAttention
from recloom.methods.about import About
from recloom.methods.attribute_models import make_backbone
from recloom.methods.composition import MakeBackbone, composed
from recloom.nn.dropout import dropout as drop
from recloom.nn.memory import Memory
from recloom.nn.popularity import Popularity
from recloom.objectives.mince import candidate_counts
from recloom.objectives.mince import mince as multi_instance
from recloom.objectives.precision import product_dtype
from recloom.objectives.ranked import pairwise
from recloom.training import Backbone, MakeOptimizer, Method, Stage, WindowsSchedule

ABOUT = About(
    "Qiu et al., Memory Augmented Multi-Instance Contrastive Predictive Coding for Sequential Recommendation, ICDM",
    2021,
    "needed",
)

CHOICES = {
    "loss": ("mince", "bpr"),
    "mince": ("inside", "outside"),
    "candidates": ("occurrences", "distinct"),
    "positives": ("all", "single"),
    "invalid_rows": ("counted", "left-out"),
}


class MMInfoRec(Method):
    """Rows predict those of their targets that stand `1..steps` places later, among the items of the batch.

    Args:
        backbone: reads the causal context; its items are what is predicted.
        memory: read by every prediction.
        popularity: what items' counts add to their scores; it has no part in training.
        copies: encodings of each item of a batch (q).
        steps: how far ahead (S); later steps are rolled by a recurrent unit.
        logit_scale: multiplies the products of predictions and encodings.
        key_dropout: rate on the encodings that predictions are compared with.
        temporal: other items of the same history are candidates.
        general: items of other histories are candidates.
        precision: of the products that "mince" compares, "fp32", "bf16" or "auto" (bf16 where the processor has units
            for it).
        loss: "mince", or "bpr": above one other item of the batch, drawn for each prediction.
        mince: the sum over right answers stands "inside" the logarithm, or their mean "outside".
        candidates: "occurrences" counts an item as often as it stands in the batch, "distinct" once.
        positives: an item that stands several times among the candidates is a right answer as often ("all"), or once
            ("single"); its copies always are.
        invalid_rows: rows whose later steps lie behind their end are "counted" as zero in the mean, or "left-out".
    """

    def __init__(
        self,
        backbone: Backbone,
        memory: Memory,
        popularity: Popularity | None = None,
        *,
        copies: int = 4,
        steps: int = 1,
        logit_scale: float = 1.0,
        key_dropout: float = 0.5,
        temporal: bool = True,
        general: bool = True,
        precision: str = "auto",
        make_optimizer: MakeOptimizer | None = None,
        **choices: str,
    ) -> None:
        super().__init__(backbone, make_optimizer=make_optimizer)
        backbone.encoder.require("causal")
        for name, value in (("copies", copies), ("steps", steps)):
            if value < 1:
                raise InputError(f"{name}={value}: at least 1 is needed")
        if steps > backbone.encoder.length:
            raise InputError(f"steps={steps}: rows of length={backbone.encoder.length} do not reach so far; lower it")
        if logit_scale <= 0:
            raise InputError(f"logit_scale={logit_scale} must be above 0")
        if not temporal and not general:
            raise InputError("temporal=False and general=False leave nothing to tell the next item from; switch one on")
        self.choices = {name: values[0] for name, values in CHOICES.items()} | choices
        for name, choice in self.choices.items():
            if choice not in CHOICES[name]:
                raise InputError(f"{name}={choice!r} is not known; choose one of {', '.join(CHOICES[name])}")
        if self.choices["loss"] == "bpr" and not (temporal and general):
            raise InputError("loss='bpr' draws from the whole batch; temporal=False and general=False are for 'mince'")
        self.memory, self.copies, self.steps = memory, copies, steps
        self.popularity = popularity or Popularity(torch.ones(backbone.items.n_items + 2))
        self.bias_columns = self.popularity.columns
        self.logit_scale, self.key_dropout = logit_scale, key_dropout
        self.temporal, self.general, self.precision = temporal, general, precision
        product_dtype(precision, torch.device("cpu"))
        self.roll = nn.GRUCell(backbone.encoder.dim, backbone.encoder.dim)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        assert batch.targets is not None
        whole = batch.whole()
        distinct, place = whole.unique(return_inverse=True)
        distinct, place = (distinct[1:], place - 1) if distinct[0] == PAD else (distinct, place)
        encoded = self.encode(distinct)
        vectors = F.embedding(place[:, :-1].clamp(min=0), encoded[0]) * batch.valid[..., None]
        states = self.backbone.encoder(vectors, batch.valid)
        keys = drop(encoded, self.key_dropout, self.training)
        once = self.choices["candidates"] == "distinct"
        counts = candidate_counts(place, len(distinct), self.temporal, self.general, once)
        log_counts, log_total = (found.to(keys.dtype).log() for found in counts)
        rows, columns = batch.valid.nonzero(as_tuple=True)
        prediction = self.memory(states[rows, columns])
        hidden, losses, n_valid = torch.zeros_like(prediction), [], 0
        for step in range(1, self.steps + 1):
            if step > 1:
                hidden = self.roll(prediction, hidden)
                prediction = self.memory(hidden)
            asked = batch.ahead(step - 1).targets
            assert asked is not None
            valid = asked[rows, columns] != PAD
            n_valid += int(valid.sum())
            target = place[rows[valid], columns[valid] + step]
            losses.append(self.contrast(prediction[valid], keys, target, log_counts, rows[valid], log_total[target]))
        n = self.steps * int(batch.targets.count_nonzero()) if self.choices["invalid_rows"] == "counted" else n_valid
        return self.total(predictions=torch.stack(losses).sum() / n)

    def contrast(
        self, predictions: Tensor, keys: Tensor, targets: Tensor, log_counts: Tensor, rows: Tensor, log_sought: Tensor
    ) -> Tensor:
        """Summed over predictions: MINCE against the candidates of their rows, or BPR against one item of the batch."""
        if self.choices["loss"] == "mince":
            return multi_instance(
                predictions,
                keys,
                targets,
                log_counts,
                rows if len(log_counts) > 1 else None,
                log_sought,
                scale=self.logit_scale,
                inside=self.choices["mince"] == "inside",
                single=self.choices["positives"] == "single",
                dtype=product_dtype(self.precision, keys.device),
            )
        if keys.shape[1] < 2:
            return predictions.sum() * 0.0
        drawn = torch.randint(keys.shape[1] - 1, targets.shape, device=targets.device, generator=self.generator)
        good, bad = (
            self.logit_scale * (predictions * keys[:, found]).sum(-1) for found in (targets, drawn + (drawn >= targets))
        )
        return pairwise(good, bad).mean(0).sum()

    def encode(self, items: Tensor) -> Tensor:
        """`(n,)` distinct items -> `(copies, n, dim)`, each copy with its own draw of dropout."""
        embedder = self.backbone.items
        if isinstance(embedder, ItemsByAttention):
            return embedder.encode(items.repeat(self.copies)).view(self.copies, len(items), -1)
        return embedder(items).expand(self.copies, -1, -1)

    def epoch_losses(self) -> dict[str, float]:
        """Also the smallest, the median and the largest length of the memory's slots, `memory/*_norm`."""
        norms = self.memory.norms()
        ranks = norms.quantile(norms.new_tensor([0.0, 0.5, 1.0])).tolist() if len(norms) else []
        names = (f"memory/{name}_norm" for name in ("smallest", "median", "largest"))
        return super().epoch_losses() | dict(zip(names, ranks, strict=False))

    def queries(self, batch: SequenceBatch) -> Tensor:
        return self.popularity.of_queries(self.memory(self.backbone.last(batch.items))[:, None])

    def catalogue(self) -> Tensor:
        return self.popularity.of_items(self.backbone.items.table())


@composed(backbone=make_backbone, training=partial(WindowsSchedule, weight_decay=1e-4, epochs=200))
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    training: WindowsSchedule,
    *,
    memory: str = "residual",
    slots: int = 64,
    addressing: str = "linear",
    memory_dropout: float = 0.2,
    copies: int = 4,
    steps: int = 1,
    logit_scale: float = 0.3,
    temperature: float | None = None,
    key_dropout: float = 0.5,
    popularity: float = 0.0,
    loss: str = "mince",
    mince: str = "inside",
    candidates: str = "occurrences",
    positives: str = "all",
    invalid_rows: str = "counted",
    temporal: bool = True,
    general: bool = True,
    precision: str = "auto",
    init: str = "uniform",
) -> list[Stage]:
    """MMInfoRec from numbers: `slots=0, copies=1` is plain predictive coding, `items="id"` needs no attributes.

    See `MMInfoRec` and `Memory`.

    Published: Beauty 2 layers and heads, decay 1e-4, scale .3; Sports 1, 1e-3, .6; Toys 1, 0, .1, two steps; Yelp 1,
    .1, 3, under which ours learns nothing; 50 epochs on Beauty and Yelp.

    Args:
        memory: "residual", a state plus what it reads (Res-M); "plain", what it reads alone (FC-M); or "none".
        slots: vectors of the memory; 0 is as memory="none".
        memory_dropout: rate on what is read of the memory.
        temperature: one over `logit_scale`; either may be given.
        popularity: weight of the logarithm of an item's training count in its score: 0 is published, 1 suits hits among
            all items. Training is the same; the epoch that is kept may be another.
        steps: how far ahead rows predict, at most `length`.
        positives: "all" or "single"; what is learnt is the same, and the loss differs by constants.
        init: of all weights: "uniform" within one over the root of `dim` (code), or each part's own ("default").
    """
    if init not in ("uniform", "default"):
        raise InputError(f"init={init!r} is not known; choose 'uniform' or 'default'")
    for name, value in (("temperature", temperature), ("logit_scale", logit_scale)):
        if value is not None and not 1e-6 <= value <= 1e6:
            raise InputError(f"{name}={value} must be above 0, from 1e-6 to 1e6")
    if popularity and (loss == "bpr" or candidates == "distinct" or not general or training.windows != "whole"):
        raise InputError(
            f"popularity={popularity}: only a contrast with all items of whole histories, each as often as it stands "
            "there, leaves out how often people choose an item; leave popularity out, or have loss='mince', "
            "candidates='occurrences', general=True and windows='whole'"
        )
    if loss == "bpr":
        unread = {"mince": mince, "candidates": candidates, "positives": positives, "precision": precision}
        refuse_unread(build, unread, "loss='bpr' compares with one other item; leave it out, or choose loss='mince'")
    elif mince == "outside" or candidates == "distinct":
        reason = f"mince={mince!r} with candidates={candidates!r} counts a right answer once; leave it out"
        refuse_unread(build, {"positives": positives}, reason)
    if steps == 1:
        refuse_unread(build, {"invalid_rows": invalid_rows}, "with steps=1 no row lies behind its end; leave it out")
    if temperature is not None:
        refuse_unread(build, {"logit_scale": logit_scale}, "temperature is one over it; give either")
    if memory == "none" or not slots:
        of_memory = {
            "addressing": addressing,
            "memory_dropout": memory_dropout,
            **({"slots": slots} if slots else {"memory": memory}),
        }
        refuse_unread(build, of_memory, "there is no memory; leave it out, or give the memory slots and a kind")
    if training.windows != "whole" and not (temporal and general):
        raise InputError(
            f"windows={training.windows!r}: its rows hold items of one history several times, so that temporal=False "
            "and general=False cannot tell histories apart; choose windows='whole'"
        )
    made, scale = backbone(catalog), logit_scale if temperature is None else 1 / temperature
    method = MMInfoRec(
        made,
        Memory(made.encoder.dim, slots, kind=memory, addressing=addressing, dropout=memory_dropout),
        Popularity(torch.from_numpy(catalog.train_counts), popularity, scale),
        copies=copies,
        steps=steps,
        logit_scale=scale,
        key_dropout=key_dropout,
        temporal=temporal,
        general=general,
        precision=precision,
        make_optimizer=training.optimizer(),
        loss=loss,
        mince=mince,
        candidates=candidates,
        positives=positives,
        invalid_rows=invalid_rows,
    )
    if init == "uniform":
        embedder = made.items
        ids = embedder.ids if isinstance(embedder, ItemsByAttention) else embedder
        assert isinstance(ids, IdEmbedding)
        for parameter in method.parameters():
            nn.init.uniform_(parameter, -(ids.dim**-0.5), ids.dim**-0.5)
        ids.weight.data[0] = 0  # padding
    return [training.stage(method)]
