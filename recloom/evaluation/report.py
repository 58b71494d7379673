"""What an evaluation found: a rank for every user, and all that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recloom.errors import InputError
from recloom.evaluation.intervals import bootstrap
from recloom.evaluation.metrics import coverage, hit_rate, list_distance, mean_popularity, mrr, ndcg, novelty

if TYPE_CHECKING:
    import polars as pl

    from recloom.data.dataset import Dataset

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Ranks and lists of one method on one part of a data set under one protocol.

    Attributes:
        method: name of the method.
        protocol, split, part: what was asked: a name of `PROTOCOLS`, the split's name, "valid" or "test".
        k: cut-offs, ascending.
        exact: False if ranks stop at max(k) + 1, which then means "not among the first max(k)".
        users: user indices, `(users,)`; all arrays are in this order.
        targets: the next item of each user, `(users,)`.
        ranks: 1-based rank of the target: the number of candidates that score at least as high, `(users,)`.
            A target that the protocol removes (it is in the history) is a miss.
        lists: the items of highest score, best first, `(users, max(k))`, 0 behind a short list; None if not
            kept, and under sampled protocols.
        history_lengths: actions in the user's whole input, `(users,)`.
        target_counts: training actions of each target, `(users,)`.
        item_counts: training actions by item, `(n_items + 2,)`.
        recalls: Recall@k of every user, only where some user has several targets. It is read from the lists,
            so equal scores at the cut are in no particular order there.
        seed: of the sampled candidates; None where nothing is sampled, or the candidates were given.
        candidates: a hash of those that were given.
        split_options: what the split was made with.
        insert_noise: random items inserted into each history that was read, for each of its own.
        attributes: offsets and values of the items' attributes, as in `Catalog`; None where they have none.
    """

    method: str
    protocol: str
    split: str
    part: str
    k: tuple[int, ...]
    exact: bool
    users: NDArray[np.int64]
    targets: NDArray[np.int64]
    ranks: NDArray[np.int64]
    lists: NDArray[np.int32] | None
    history_lengths: NDArray[np.int64]
    target_counts: NDArray[np.int64]
    item_counts: NDArray[np.int64]
    recalls: Mapping[int, Floats] | None = None
    seed: int | None = None
    candidates: str | None = None
    split_options: Mapping[str, Any] = field(default_factory=dict)
    insert_noise: float = 0.0
    attributes: tuple[NDArray[np.int64], NDArray[np.int32]] | None = None

    def __len__(self) -> int:
        """Users ranked."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Items of the catalogue."""
        return len(self.item_counts) - 2

    def values(self) -> dict[str, Floats]:
        """Every metric that is a mean over users, as one value per user, `(users,)`."""
        found = {f"HR@{k}": hit_rate(self.ranks, k) for k in self.k}
        found |= {f"NDCG@{k}": ndcg(self.ranks, k) for k in self.k}
        if self.exact:
            found["MRR"] = mrr(self.ranks)
        if self.recalls is not None:
            found |= {f"Recall@{k}": self.recalls[k] for k in self.k}
        if self.lists is not None:
            found |= {f"popularity@{k}": mean_popularity(self.lists, self.item_counts, k) for k in self.k}
            found |= {f"novelty@{k}": novelty(self.lists, self.item_counts, k) for k in self.k}
        return found

    def value(self, metric: str) -> Floats:
        """One metric of every user, `(users,)`.

        Raises:
            InputError: a metric this evaluation does not hold; the message lists those it holds.
        """
        values = self.values()
        if metric not in values:
            raise InputError(f"metric={metric!r} has no value per user here; choose one of {', '.join(values)}")
        return values[metric]

    def metrics(self) -> dict[str, float]:
        """Means over users, and the coverage of all lists together."""
        found = {name: float(value.mean()) for name, value in self.values().items()}
        if self.lists is not None:
            found |= {f"coverage@{k}": coverage(self.lists, self.n_items, k) for k in self.k}
        return found

    def distance(self, k: int = 10) -> float:
        """Mean over users of how unlike the first k items of a list are by their attributes; see `list_distance`.

        It looks at all pairs of a list, so it is not among `metrics()`.

        Raises:
            InputError: items without attributes, no lists, or lists shorter than k.
        """
        if self.attributes is None or self.lists is None or self.lists.shape[1] < k:
            raise InputError(f"distance@{k} needs items with attributes and lists of {k} items; it has not got them")
        return float(list_distance(self.lists, *self.attributes, k).mean())

    def intervals(self, level: float = 0.95, samples: int = 1000, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Percentile bootstrap intervals over users of every mean; coverage is no mean and has none.

        Args:
            level: share of the bootstrap distribution inside the interval.
            samples: how often the users are drawn anew, with replacement.
        """
        values = self.values()
        low, high = bootstrap(np.stack(list(values.values()), 1), level=level, samples=samples, seed=seed)
        return {name: (float(a), float(b)) for name, a, b in zip(values, low, high, strict=True)}

    def by_length(self, groups: int | Sequence[int] = 4, k: int | None = None) -> pl.DataFrame:
        """Metrics by the length of the user's whole input.

        Args:
            groups: a number of quantile groups (equal lengths stay together, so there may be fewer), or the
                fixed edges between groups: (10, 20) gives below 10, 10 to 19, 20 and more.
            k: the cut-off; 10 if it was evaluated, else the largest.

        Returns:
            group, low, high (smallest and largest value found), grouped_by ("quantiles" or "edges"), users,
            HR@k, NDCG@k. A fixed group without users keeps its row, with nulls.
        """
        return self._by(self.history_lengths, groups, k)

    def by_popularity(self, groups: int | Sequence[int] = 4, k: int | None = None) -> pl.DataFrame:
        """Metrics by the training actions of the target; arguments and columns as for `by_length`."""
        return self._by(self.target_counts, groups, k)

    def per_user(self, data: Dataset | None = None) -> pl.DataFrame:
        """One row per user: user, target (indices), rank, history_length, target_count and every metric.

        With the data, `user_id` and `item_id` of the log stand in place of the indices.
        """
        import polars as pl

        columns = {
            "user": self.users,
            "target": self.targets,
            "rank": self.ranks,
            "history_length": self.history_lengths,
            "target_count": self.target_counts,
        }
        table = pl.DataFrame({**columns, **self.values()})
        if data is None:
            return table
        ids = {"user_id": data.user_ids[self.users].tolist(), "item_id": data.catalog.decode(self.targets)}
        return pl.DataFrame(ids).hstack(table.drop("user", "target"))

    def to_dict(self, intervals: bool = True) -> dict[str, Any]:
        """Everything that is not per user, in types that JSON knows."""
        found: dict[str, Any] = {
            "method": self.method,
            "protocol": self.protocol,
            "split": self.split,
            "split_options": {key: _plain(value) for key, value in self.split_options.items()},
            "part": self.part,
            "k": list(self.k),
            "exact": self.exact,
            "seed": self.seed,
            **({"insert_noise": self.insert_noise} if self.insert_noise else {}),
            "users": len(self),
            "metrics": self.metrics(),
        }
        if intervals:
            found["intervals"] = {name: list(pair) for name, pair in self.intervals().items()}
        return found

    def table(self, intervals: bool = True) -> str:
        """The metrics as lines of text, with 95 % intervals."""
        bounds = self.intervals() if intervals else {}
        lines = [self._title()]
        for name, value in self.metrics().items():
            digits = 1 if name.startswith("popularity") else 4
            line = f"  {name:<14}{value:>9.{digits}f}"
            if name in bounds:
                low, high = bounds[name]
                line += f"   [{low:.{digits}f}, {high:.{digits}f}]"
            lines.append(line)
        return "\n".join(lines)

    def __repr__(self) -> str:
        """The metrics as text."""
        return self.table(intervals=False)

    def _title(self) -> str:
        noise = f", {self.insert_noise:.0%} random items inserted" if self.insert_noise else ""
        return f"{self.method} on {self.part} of {self.split}, {self.protocol}, {len(self):,} users{noise}"

    def _by(self, by: NDArray[np.int64], groups: int | Sequence[int], k: int | None) -> pl.DataFrame:
        import polars as pl

        k = k or (10 if 10 in self.k else self.k[-1])
        if self.k[-1] < k and not self.exact:
            raise InputError(f"k={k}: ranks of this evaluation stop at {self.k[-1] + 1}; use exact=True or a smaller k")
        names, number = _groups(by, groups)
        values = {f"HR@{k}": hit_rate(self.ranks, k), f"NDCG@{k}": ndcg(self.ranks, k)}
        rows = []
        for group, name in enumerate(names):
            inside = number == group
            some = bool(inside.any())
            rows.append(
                {
                    "group": name,
                    "low": int(by[inside].min()) if some else None,
                    "high": int(by[inside].max()) if some else None,
                    "grouped_by": "quantiles" if isinstance(groups, int) else "edges",
                    "users": int(inside.sum()),
                    **{metric: float(value[inside].mean()) if some else None for metric, value in values.items()},
                }
            )
        types = {"low": pl.Int64, "high": pl.Int64, **dict.fromkeys(values, pl.Float64)}
        return pl.DataFrame(rows, schema_overrides=types)


def _groups(by: NDArray[np.int64], groups: int | Sequence[int]) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the groups and the group of every value."""
    if isinstance(groups, int):
        if groups < 1:
            raise InputError(f"groups={groups}: at least one group is needed")
        edges = np.unique(np.quantile(by, np.arange(1, groups) / groups, method="higher"))
        number = np.unique(np.searchsorted(edges, by, side="right"), return_inverse=True)[1]
        bounds = [(int(by[number == j].min()), int(by[number == j].max())) for j in range(number.max() + 1)]
        return [f"{low}-{high}" if low < high else f"{low}" for low, high in bounds], number
    edges = np.asarray(groups)
    if edges.ndim != 1 or not len(edges) or (np.diff(edges) <= 0).any():
        raise InputError(f"groups={groups!r}: give how many groups there are, or a list of edges that rise")
    inner = [f"{low}-{high - 1}" if low < high - 1 else f"{low}" for low, high in pairwise(edges)]
    return [f"<{edges[0]}", *inner, f"{edges[-1]}+"], np.searchsorted(edges, by, side="right")


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | type(None)) else str(value)
