"""Which items may be recommended, to everybody or to one user."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recloom.data.catalog import Catalog
from recloom.errors import InputError

Ids = Iterable[Any] | Mapping[Any, Iterable[Any]] | None
"""External item ids for everybody, or a dict from user id to item ids; users it does not name are unrestricted."""


@dataclass(frozen=True)
class Restrictions:
    """Allow and deny lists as item indices.

    Args:
        allowed: the only items for everybody, ascending; None where all are allowed.
        denied: items for nobody.
        allowed_by_user, denied_by_user: the same for single users.
        unknown_allow, unknown_deny: listed ids that the catalogue does not hold.
    """

    allowed: NDArray[np.int64] | None = None
    denied: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    allowed_by_user: Mapping[Any, NDArray[np.int64]] = field(default_factory=dict)
    denied_by_user: Mapping[Any, NDArray[np.int64]] = field(default_factory=dict)
    unknown_allow: int = 0
    unknown_deny: int = 0

    def check_users(self, users: list[Any]) -> None:
        """An `InputError` where lists by user name nobody who is asked, one side being text and the other not."""
        for name, by_user in (("allow", self.allowed_by_user), ("deny", self.denied_by_user)):
            if not by_user or not users or any(user in by_user for user in users):
                continue
            if not {isinstance(user, str) for user in by_user} & {isinstance(user, str) for user in users}:
                key = next(iter(by_user))
                raise InputError(f"{name} is a dict of users such as {key!r}, but the users are such as {users[0]!r}")

    def without(self, items: NDArray[np.int64]) -> Restrictions:
        """The same, and these items for nobody."""
        if not len(items):
            return self
        if self.allowed is None:
            return replace(self, denied=np.union1d(self.denied, items))
        return replace(self, allowed=np.setdiff1d(self.allowed, items))


NONE = Restrictions()


def read_restrictions(allow: Ids, deny: Ids, catalog: Catalog) -> Restrictions:
    """Allow and deny lists of external ids.

    Raises:
        InputError: a single id instead of a list, an empty global allow-list, or one of unknown ids only.
    """
    if allow is None and deny is None:
        return NONE
    allowed, allowed_by_user, unknown_allow = _read("allow", allow, catalog)
    denied, denied_by_user, unknown_deny = _read("deny", deny, catalog)
    if allowed is not None and denied is not None:
        allowed = np.setdiff1d(allowed, denied)
    if denied is None or allowed is not None:
        denied = np.empty(0, dtype=np.int64)
    return Restrictions(allowed, denied, allowed_by_user, denied_by_user, unknown_allow, unknown_deny)


def _read(name: str, ids: Ids, catalog: Catalog) -> tuple[NDArray[np.int64] | None, dict[Any, NDArray[np.int64]], int]:
    """Item indices for everybody (None without a list), item indices by user, ids not known."""
    if ids is None or (isinstance(ids, Mapping) and not ids):
        return None, {}, 0
    by_user = isinstance(ids, Mapping)
    lists = [_ids(name, row) for row in (ids.values() if isinstance(ids, Mapping) else [ids])]
    flat = list(itertools.chain.from_iterable(lists))
    if not flat and name == "allow" and not by_user:
        raise InputError("allow is empty, so nothing could be recommended; give ids, or None to allow every item")
    codes = catalog.encode(flat)
    unknown = int(np.count_nonzero(codes == 0))
    if flat and unknown == len(flat) and name == "allow":
        some = ", ".join(repr(each) for each in flat[:3])
        raise InputError(f"allow: none of its {len(flat)} ids is in the catalogue (for example {some})")
    rows = [np.unique(row[row > 0]) for row in np.split(codes, np.cumsum([len(row) for row in lists])[:-1])]
    if isinstance(ids, Mapping):
        return None, dict(zip(ids, rows, strict=True)), unknown
    return rows[0], {}, unknown


def _ids(name: str, ids: Any) -> list[Any]:
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        raise InputError(f"{name} holds {ids!r} where a list of item ids belongs; write [{ids!r}]")
    return ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
