"""A shop whose best possible answer is known: the process that draws it, and its oracle. `simulate` draws one.

Users shop with hidden intents, so a recommender can be held against the best score that any recommender could reach.

The process, for every user on their own:

1. A *type* is drawn, all types alike: a lasting taste (long memory), made of a mixture over intents and a liking for
   brands.
2. Before each action the hidden *intent* stays with probability ``persistence``; else it is drawn from the mixture.
3. The item is drawn with a probability proportional, over the items that may still be taken, to ::

       noise * popularity(i) + (1 - noise) * [(1 - f) * taste(i | type, intent) + f * successor(i | previous item)]

   with ``f = follow`` when the previous item belongs to the present intent, else 0 (short memory). With
   ``repeats=False`` the items a user had before may not be taken again: their mass is spread over the rest, in the
   drawing as in the oracle.

The oracle knows these numbers and what a recommender sees, the history; types and intents stay hidden from it. Both
come from finite sets, so the forward algorithm of hidden Markov models gives the exact posterior over (type, intent),
and with it the exact probability of every next item. Ranked by that probability, no list has a higher expected HR@k or
NDCG@k.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from recloom.errors import InputError

BLOCK = 2_000_000  # numbers in the largest array over users and items
Knows = Literal["history", "latent"]


@dataclass(frozen=True)
class Process:
    """The generating probabilities of a shop; items are counted from 0 here.

    Args:
        popularity: `(items,)`, what noise draws from; sums to 1.
        taste: `(types, intents, items)`, sums to 1 over items; zero outside the intent's own items.
        mixture: `(types, intents)`, sums to 1 over intents.
        successors: `(items, 3)`, what tends to follow an item, within its intent.
        successor_weights: `(items, 3)`, their probabilities; 0 fills rows of intents with fewer items.
        item_intents: `(items,)`, the intent an item belongs to.
        noise, follow, persistence, repeats: as in `simulate`.
    """

    popularity: np.ndarray
    taste: np.ndarray
    mixture: np.ndarray
    successors: np.ndarray
    successor_weights: np.ndarray
    item_intents: np.ndarray
    noise: float
    follow: float
    persistence: float
    repeats: bool

    @property
    def n_items(self) -> int:
        return len(self.popularity)

    def followed(self, previous: np.ndarray) -> np.ndarray:
        """Return f, `(users, 1, intents)`: `follow` in the intent of each user's previous item (-1 = none), else 0."""
        intents = np.arange(self.mixture.shape[1])
        same = (self.item_intents[previous][:, None] == intents) & (previous >= 0)[:, None]
        return self.follow * same[:, None, :]

    def step(self, belief: np.ndarray) -> np.ndarray:
        """Move a belief over (type, intent), `(users, types, intents)`, from one action to the next."""
        redrawn = belief.sum(axis=2, keepdims=True) * self.mixture
        return self.persistence * belief + (1 - self.persistence) * redrawn

    def mass(self, free: np.ndarray, previous: np.ndarray) -> np.ndarray:
        """Return the sum of step 3 over the free items: `(users, types, intents)` from `free` of `(users, items)`."""
        types, intents, n_items = self.taste.shape
        f = self.followed(previous)
        taste = (free @ self.taste.reshape(-1, n_items).T).reshape(-1, types, intents)
        rows = np.arange(len(free))[:, None]
        follow = (free[rows, self.successors[previous]] * self.successor_weights[previous]).sum(axis=1)
        noise = free @ self.popularity
        return self.noise * noise[:, None, None] + (1 - self.noise) * ((1 - f) * taste + f * follow[:, None, None])

    def likelihood(self, items: np.ndarray, free: np.ndarray, previous: np.ndarray) -> np.ndarray:
        """Return the probability of each user's next item under every (type, intent): `(users, types, intents)`."""
        f = self.followed(previous)
        taste = np.moveaxis(self.taste[:, :, items], 2, 0)
        follow = (self.successor_weights[previous] * (self.successors[previous] == items[:, None])).sum(axis=1)
        noise = self.popularity[items]
        top = self.noise * noise[:, None, None] + (1 - self.noise) * ((1 - f) * taste + f * follow[:, None, None])
        return top / self.mass(free, previous)

    def next_items(self, belief: np.ndarray, free: np.ndarray, previous: np.ndarray) -> np.ndarray:
        """Return the probability of every item, `(users, items)`, given a belief over (type, intent) at that action."""
        weight = belief / self.mass(free, previous)
        f = self.followed(previous)
        drawn = (weight * (1 - f)).reshape(len(free), -1) @ self.taste.reshape(-1, self.n_items)
        scores = self.noise * weight.sum(axis=(1, 2))[:, None] * self.popularity + (1 - self.noise) * drawn
        rows = np.arange(len(free))[:, None]
        follow = (1 - self.noise) * (weight * f).sum(axis=(1, 2))[:, None]
        scores[rows, self.successors[previous]] += follow * self.successor_weights[previous]
        return scores * free


@dataclass(frozen=True)
class Shop:
    """A drawn shop.

    Args:
        log: `user_id, item_id, timestamp` (seconds, rising within a user), ordered by time; all int64.
        items: `item_id, title, attributes` (department, kind and brand).
        users: `user_id, type, actions`.
        intents: `(n_items,)`, the planted intent of item `item_id = i + 1`.
        process: the generating probabilities.
        histories: `(n_users, longest)` items counted from 0, -1 after the last; row u belongs to `user_id = u + 1`.
        hidden: the intent of every action, shaped like `histories`.
        types: `(n_users,)`.
    """

    log: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    intents: np.ndarray
    process: Process = field(repr=False)
    histories: np.ndarray = field(repr=False)
    hidden: np.ndarray = field(repr=False)
    types: np.ndarray = field(repr=False)

    @property
    def lengths(self) -> np.ndarray:
        """Actions per user, `(n_users,)`."""
        return (self.histories >= 0).sum(axis=1)

    @property
    def targets(self) -> np.ndarray:
        """Each user's last item, counted from 0, `(n_users,)`."""
        return self.histories[np.arange(len(self.histories)), self.lengths - 1]

    def oracle(
        self,
        k: int | Sequence[int] = (5, 10, 20),
        *,
        realised: bool = False,
        filter_seen: bool = False,
        knows: Knows = "history",
    ) -> dict[str, float]:
        """Return the best possible full-ranking HR@k and NDCG@k for every user's last item, given all before it.

        With p_(1) >= p_(2) >= ... the sorted probabilities of a user's next item, the expected HR@k is the mean over
        users of the sum of p_(r), r <= k, and the expected NDCG@k that of p_(r) / log2(r + 1). The histories are those
        drawn; the expectation is over the last item alone, exactly.

        Args:
            k: list lengths.
            realised: score the same ranking on the last items that were drawn; differs by chance alone.
            filter_seen: leave the user's earlier items out of the ranking, though they may come again (protocol
                `full-mask`). Makes no difference without repeats.
            knows: "history" is what a recommender can know. "latent" also tells the type and all intents before the
                target's; it is an upper bound that no recommender can be asked to reach.

        Returns:
            `{"HR@5": ..., "NDCG@5": ..., ...}`.

        Raises:
            InputError: a k is below 1.
        """
        ks = [int(depth) for depth in np.atleast_1d(k)]
        if not ks or min(ks) < 1:
            raise InputError(f"oracle: every k must be at least 1, got {ks}")
        gains = self._gains(min(max(ks), self.process.n_items), realised, filter_seen, knows)
        discounted = gains / np.log2(np.arange(gains.shape[1]) + 2)
        scores = {}
        for depth in ks:
            scores[f"HR@{depth}"] = float(gains[:, :depth].sum(axis=1).mean())
            scores[f"NDCG@{depth}"] = float(discounted[:, :depth].sum(axis=1).mean())
        return scores

    def next_items(self, knows: Knows = "history") -> np.ndarray:
        """Return the probability of every item to be each user's last, given all before: `(n_users, n_items)`."""
        return np.concatenate([self._next(rows, knows) for rows in self._blocks()])

    def posterior(self) -> np.ndarray:
        """Return the probability of (type, intent) after each user's last item but one: `(n_users, types, intents)`."""
        return np.concatenate([self._filter(rows) for rows in self._blocks()])

    def _gains(self, depth: int, realised: bool, filter_seen: bool, knows: Knows) -> np.ndarray:
        """Return the chance of a hit (realised: whether it was one) at each rank of the best list: `(users, depth)`."""
        gains = np.zeros((len(self.histories), depth))
        for rows in self._blocks():
            chances = self._next(rows, knows)
            ranked = np.where(self._free(rows), chances, -1.0) if filter_seen else chances
            best = np.argsort(-ranked, axis=1, kind="stable")[:, :depth]
            hits = best == self.targets[rows][:, None] if realised else np.take_along_axis(chances, best, axis=1)
            gains[rows] = np.where(np.take_along_axis(ranked, best, axis=1) < 0, 0.0, hits)
        return gains

    def _blocks(self) -> Iterator[np.ndarray]:
        return user_blocks(len(self.histories), self.process.n_items)

    def _free(self, rows: np.ndarray) -> np.ndarray:
        """Return True where an item is not among the user's items before the last, `(rows, n_items)`."""
        free = np.ones((len(rows), self.process.n_items + 1), bool)
        before = self.histories[rows]
        before = np.where(np.arange(before.shape[1]) < self.lengths[rows][:, None] - 1, before, -1)
        np.put_along_axis(free, before, False, axis=1)  # -1 falls on the spare column
        return free[:, :-1]

    def _filter(self, rows: np.ndarray) -> np.ndarray:
        """Run the forward algorithm over each history but its last item."""
        process, histories, lengths = self.process, self.histories[rows], self.lengths[rows]
        prior = process.mixture / len(process.mixture)
        belief, free = np.tile(prior, (len(rows), 1, 1)), np.ones((len(rows), process.n_items))
        for step in range(lengths.max() - 1):
            on = np.flatnonzero(lengths - 1 > step)
            items, previous = histories[on, step], previous_items(histories, on, step)
            ahead = process.step(belief[on]) if step else belief[on]
            joint = ahead * process.likelihood(items, free[on], previous)
            belief[on] = joint / joint.sum(axis=(1, 2), keepdims=True)
            if not process.repeats:
                free[on, items] = 0
        return belief

    def _next(self, rows: np.ndarray, knows: Knows) -> np.ndarray:
        if knows not in ("history", "latent"):
            raise InputError(f'knows must be "history" or "latent", got {knows!r}')
        last = self.lengths[rows] - 1
        if knows == "latent":
            belief = np.zeros((len(rows), *self.process.mixture.shape))
            belief[np.arange(len(rows)), self.types[rows], self.hidden[rows, last - 1]] = 1
        else:
            belief = self._filter(rows)
        free = np.ones((len(rows), self.process.n_items)) if self.process.repeats else self._free(rows).astype(float)
        return self.process.next_items(self.process.step(belief), free, self.histories[rows, last - 1])


def user_blocks(n_users: int, n_items: int) -> Iterator[np.ndarray]:
    """Cut the users so that an array of users by items stays small."""
    size = max(1, BLOCK // n_items)
    for start in range(0, n_users, size):
        yield np.arange(start, min(start + size, n_users))


def previous_items(histories: np.ndarray, rows: np.ndarray, step: int) -> np.ndarray:
    return histories[rows, step - 1] if step else np.full(len(rows), -1)
