"""External ids and the places they have in an array."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recloom.errors import InputError


class Vocabulary:
    """Distinct external ids, either all integers or all text; place p holds `ids[p]`.

    Args:
        ids: `(n,)` integers, or text (kept as an object array of `str`).
        what: what the ids are, in messages ("item").

    Raises:
        InputError: an id occurs twice, or is neither an integer nor text.
    """

    def __init__(self, ids: NDArray[Any] | Sequence[Any], what: str = "item") -> None:
        found = np.asarray(ids)
        if found.dtype.kind in "iu":
            self.ids: NDArray[Any] = found.astype(np.int64)
        else:
            self.ids = np.asarray(ids, dtype=object)
            wrong = next((x for x in self.ids if not isinstance(x, str)), None)
            if wrong is not None:
                raise InputError(f"{what} ids must be all integers or all text; one is {wrong!r}")
        distinct = len(self.ids) if self.integers and self._order is None else len(set(self.ids.tolist()))
        if distinct < len(self.ids):
            raise InputError(f"{len(self.ids) - distinct} {what} ids occur more than once")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def integers(self) -> bool:
        """The ids are integers."""
        return self.ids.dtype == np.int64

    @cached_property
    def _order(self) -> NDArray[np.int64] | None:
        """The order that sorts integer ids; None where they are sorted."""
        return None if (self.ids[1:] > self.ids[:-1]).all() else np.argsort(self.ids, kind="stable")

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.ids)}

    def places(self, ids: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """The place of each id, `(len(ids),)` int64; -1 for one that is not there.

        Integers written as text and whole floats stand for integers, and integers for text of the same digits.
        """
        if not len(ids):
            return np.zeros(0, dtype=np.int64)
        if not self.integers:
            places, names = self._places, ids.tolist() if isinstance(ids, np.ndarray) else ids
            texts = map(as_text, names)
            return np.fromiter((-1 if x is None else places.get(x, -1) for x in texts), np.int64, len(names))
        if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu":
            wanted, known = ids.astype(np.int64), None
        else:
            whole = [as_integer(x) for x in (ids.tolist() if isinstance(ids, np.ndarray) else ids)]
            wanted = np.array([0 if x is None else x for x in whole], dtype=np.int64)
            known = np.array([x is not None for x in whole])
        return self._integer_places(wanted, known)

    def _integer_places(self, wanted: NDArray[np.int64], known: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        if not len(self.ids):
            return np.full(len(wanted), -1, dtype=np.int64)
        order = self._order
        ids = self.ids if order is None else self.ids[order]
        at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
        found = ids[at] == wanted
        if known is not None:
            found &= known
        return np.where(found, at if order is None else order[at], -1)


def as_integer(value: Any) -> int | None:
    """The 64-bit integer that a value stands for, if any.

    >>> as_integer("12"), as_integer(12.0), as_integer("012"), as_integer(1.5)
    (12, 12, None, None)
    """
    if isinstance(value, str):
        try:
            number = int(value)
        except ValueError:
            return None
        return number if str(number) == value and _fits(number) else None
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (float, np.floating)):
        return int(value) if float(value).is_integer() and _fits(int(value)) else None
    if isinstance(value, (int, np.integer)):
        return int(value) if _fits(int(value)) else None
    return None


def _fits(number: int) -> bool:
    """It can be an int64."""
    return -(2**63) <= number < 2**63


def as_text(value: Any) -> str | None:
    """An id as text: text as it is, integers by their digits; None for anything else.

    >>> as_text("a"), as_text(12), as_text(12.0), as_text(None)
    ('a', '12', '12', None)
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(int(value))  # of any size: hashes may lie beyond 64 bits
    number = as_integer(value)
    return None if number is None else str(number)
