"""Draws a simulated shop; `recloom.data.shop` says by which process and holds its oracle."""

from __future__ import annotations

import numpy as np
import polars as pl

from recloom.data.shop import Process, Shop, previous_items, user_blocks
from recloom.errors import InputError

DEPARTMENTS: dict[str, tuple[str, str]] = {  # department: kinds of thing, first words
    "Running": ("shoe,vest,sock,headlamp,bottle,jacket", "Trail,Road,Winter,Light,Race"),
    "Kitchen": ("pan,knife,kettle,mill,bowl,apron", "Cast iron,Copper,Oak,Steel,Enamel"),
    "Garden": ("trowel,planter,hose,lantern,seed mix,bench", "Cedar,Terracotta,Meadow,Rooftop,Herb"),
    "Reading": ("novel,atlas,notebook,lamp,bookmark,biography", "Pocket,Illustrated,Nordic,Bedside,Classic"),
    "Camping": ("tent,stove,hammock,mug,rope,backpack", "Alpine,Ultralight,Family,Forest,Desert"),
    "Music": ("record,headphone,tuner,stand,amplifier,ukulele", "Studio,Vintage,Acoustic,Travel,Concert"),
    "Play": ("puzzle,board game,kite,card deck,train set,marble run", "Wooden,Cooperative,Night,Harbour,Mountain"),
    "Coffee": ("grinder,filter,roast,cup,scale,dripper", "House,Ethiopian,Slow,Barista,Morning"),
}
BRANDS = ("Alder", "Birch", "Cobalt", "Dune", "Ember", "Fjord")
SUCCESSOR_WEIGHTS = np.array([0.6, 0.3, 0.1])
LEAST_NOISE = 1e-9  # keeps every item possible, so that an exhausted intent never leaves a user without a next item


def simulate(
    n_users: int = 2000,
    n_items: int = 400,
    *,
    intents: int = 4,
    types: int = 8,
    noise: float = 0.1,
    skew: float = 0.8,
    follow: float = 0.5,
    persistence: float = 0.8,
    taste: float = 1.5,
    lengths: tuple[int, int, int] = (5, 20, 60),
    repeats: bool = False,
    seed: int = 0,
) -> Shop:
    """Draw a shop; `recloom.data.shop` says how, and what its oracle knows.

    Args:
        n_users, n_items: sizes.
        intents: hidden intents; each item belongs to one, in nearly equal parts.
        types: distinct lasting tastes.
        noise: probability of an action by popularity alone; 1 with `skew=0` leaves nothing to learn.
        skew: exponent of Zipf's law of popularity within an intent and overall; 0 makes all items alike.
        follow: probability of a successor of the previous item while the intent lasts.
        persistence: probability that the intent stays without a new draw.
        taste: strength of a type's liking for brands; 0 leaves the mixture of intents as the only lasting taste.
        lengths: shortest, about the mean, and longest history, in actions; above the shortest they fall off
            geometrically. Without repeats no history is longer than the catalogue.
        repeats: whether a user may take an item again.
        seed: one seed, one shop.

    Raises:
        InputError: a number is out of its range.

    >>> shop = simulate(200, 60, seed=1)
    >>> shop.items["title"][0]
    'Meadow trowel 1'
    """
    _check(n_users, n_items, intents, types, lengths, repeats)
    _check_numbers(noise=noise, follow=follow, persistence=persistence, skew=skew, taste=taste)
    rng = np.random.default_rng(seed)
    item_intents = rng.permutation(np.arange(n_items) % intents)
    brands = rng.integers(len(BRANDS), size=n_items)
    process = Process(
        *_tastes(rng, item_intents, brands, types, skew, taste),
        *_successors(rng, item_intents),
        item_intents=item_intents,
        noise=max(noise, LEAST_NOISE),
        follow=follow,
        persistence=persistence,
        repeats=repeats,
    )
    shortest, mean, longest = lengths
    extra = rng.geometric(1 / (mean - shortest + 1), size=n_users) - 1
    n_actions = np.minimum(shortest + extra, longest if repeats else min(longest, n_items))
    user_types = rng.integers(types, size=n_users)
    histories, hidden = _draw(rng, process, user_types, n_actions)
    return Shop(
        log=_log(rng, histories),
        items=_items(rng, item_intents, brands),
        users=pl.DataFrame({"user_id": np.arange(1, n_users + 1), "type": user_types, "actions": n_actions}),
        intents=item_intents,
        process=process,
        histories=histories,
        hidden=hidden,
        types=user_types,
    )


def _check(n_users: int, n_items: int, intents: int, types: int, lengths: tuple[int, int, int], repeats: bool) -> None:
    if n_users < 1 or types < 1 or intents < 1:
        raise InputError(f"simulate: n_users, types and intents must be at least 1, got {n_users}, {types}, {intents}")
    if n_items < intents:
        raise InputError(f"simulate: n_items must be at least intents ({intents}), got {n_items}")
    if len(lengths) != 3 or not 2 <= lengths[0] <= lengths[1] <= lengths[2]:
        raise InputError(f"simulate: lengths must be 2 <= shortest <= mean <= longest, got {lengths}")
    if not repeats and lengths[0] > n_items:
        raise InputError(f"simulate: without repeats no user can have {lengths[0]} of {n_items} items; lower lengths")


def _check_numbers(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 <= value < np.inf or (name in ("noise", "follow", "persistence") and value > 1):
            bounds = "at least 0" if name in ("skew", "taste") else "between 0 and 1"
            raise InputError(f"simulate: {name} must be {bounds}, got {value}")


def _tastes(
    rng: np.random.Generator, item_intents: np.ndarray, brands: np.ndarray, types: int, skew: float, taste: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return popularity, taste and mixture of a `Process`."""
    intents = int(item_intents.max()) + 1
    ranks = np.empty(len(item_intents))
    order = rng.permutation(len(item_intents))
    for intent in range(intents):
        members = order[item_intents[order] == intent]
        ranks[members] = np.arange(1, len(members) + 1)
    popularity = ranks**-skew
    liking = np.exp(taste * rng.standard_normal((types, len(BRANDS))))
    inside = item_intents == np.arange(intents)[:, None]
    tastes = popularity * liking[:, None, brands] * inside
    mixture = rng.dirichlet(np.full(intents, 0.7), size=types)
    return popularity / popularity.sum(), tastes / tastes.sum(axis=2, keepdims=True), mixture


def _successors(rng: np.random.Generator, item_intents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each item's successors and their probabilities: distinct others of its intent, all equally often."""
    n_items, steps = len(item_intents), len(SUCCESSOR_WEIGHTS)
    successors = np.repeat(np.arange(n_items)[:, None], steps, axis=1)
    weights = np.zeros((n_items, steps))
    for intent in range(int(item_intents.max()) + 1):
        circle = rng.permutation(np.flatnonzero(item_intents == intent))
        shifts = rng.permutation(np.arange(1, len(circle)))[:steps]
        for step, shift in enumerate(shifts):
            successors[circle, step] = np.roll(circle, -shift)
            weights[circle, step] = SUCCESSOR_WEIGHTS[step] / SUCCESSOR_WEIGHTS[: len(shifts)].sum()
    return successors, weights


def _draw(
    rng: np.random.Generator, process: Process, types: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw every history and its intents: `(n_users, longest)`, -1 after the last action."""
    luck = rng.random((3, len(types), lengths.max()))  # whether the intent is kept, which it becomes, which item
    shares = process.mixture.cumsum(axis=1)[:, :-1]  # the last intent takes what rounding leaves
    histories, hidden = np.full((2, len(types), lengths.max()), -1)
    for block in user_blocks(len(types), process.n_items):
        free = np.ones((len(block), process.n_items))
        for step in range(lengths[block].max()):
            on = np.flatnonzero(lengths[block] > step)
            rows = block[on]
            drawn = (luck[1, rows, step][:, None] >= shares[types[rows]]).sum(axis=1)
            kept = (luck[0, rows, step] < process.persistence) & (step > 0)
            hidden[rows, step] = np.where(kept, hidden[rows, step - 1], drawn)
            previous = previous_items(histories, rows, step)
            belief = np.zeros((len(rows), *process.mixture.shape))
            belief[np.arange(len(rows)), types[rows], hidden[rows, step]] = 1
            chances = process.next_items(belief, free[on], previous).cumsum(axis=1)
            items = (chances <= luck[2, rows, step][:, None] * chances[:, -1:]).sum(axis=1)
            histories[rows, step] = items
            if not process.repeats:
                free[on, items] = 0
    return histories, hidden


def _log(rng: np.random.Generator, histories: np.ndarray) -> pl.DataFrame:
    """Lay the actions over a year: users begin at any time, gaps of about two days, no ties within a user."""
    gaps = 1 + (rng.exponential(2 * 86_400, size=histories.shape)).astype(np.int64)
    starts = 1_700_000_000 + rng.integers(365 * 86_400, size=(len(histories), 1))
    users, steps = np.nonzero(histories >= 0)
    times = (starts + gaps.cumsum(axis=1))[users, steps]
    frame = pl.DataFrame({"user_id": users + 1, "item_id": histories[users, steps] + 1, "timestamp": times})
    return frame.sort("timestamp", "user_id")


def _items(rng: np.random.Generator, item_intents: np.ndarray, brands: np.ndarray) -> pl.DataFrame:
    """Name the items. Nine in ten carry their intent's department; the others a department by chance, as shops do."""
    n_items, names = len(item_intents), list(DEPARTMENTS)
    kinds, words = rng.integers(6, size=n_items), rng.integers(5, size=n_items)
    strayed = rng.random(n_items) < 0.1
    shelf = np.where(strayed, rng.integers(int(item_intents.max()) + 1, size=n_items), item_intents)
    titles, attributes = [], []
    for item, (intent, placed) in enumerate(zip(item_intents.tolist(), shelf.tolist(), strict=True)):
        nouns, firsts = DEPARTMENTS[names[intent % len(names)]]
        kind = nouns.split(",")[kinds[item]]
        floor = "" if placed < len(names) else f" {placed // len(names) + 1}"
        titles.append(f"{firsts.split(',')[words[item]]} {kind} {item + 1}")
        attributes.append([names[placed % len(names)] + floor, kind, BRANDS[brands[item]]])
    ids = np.arange(1, n_items + 1)
    return pl.DataFrame({"item_id": ids, "title": titles, "attributes": attributes})
