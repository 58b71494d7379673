"""The protocols: which items compete with the target, and what becomes of the history."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from recloom.errors import InputError


@dataclass(frozen=True)
class Protocol:
    """One way to rank a held-out item.

    Attributes:
        name: how results name it; no number is shown without it.
        candidates: "all" items compete, or the target and a sample drawn "uniform" or by "popularity".
        negatives: size of that sample; 0 where all items compete.
        mask_history: the items of the user's whole input lose their own score. Sampled negatives are never in the
            history, so it says nothing there.
        history_score: what they have instead: minus infinity removes them; 0 is what code of S3-Rec's family gives
            them, so that they come before items of negative score.
    """

    name: str
    candidates: Literal["all", "uniform", "popularity"]
    negatives: int
    mask_history: bool
    history_score: float = -math.inf

    @property
    def sampled(self) -> bool:
        """True where the target competes with a sample only."""
        return self.candidates != "all"


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("full-mask", "all", 0, True),
        Protocol("full-open", "all", 0, False),
        Protocol("full-zero", "all", 0, True, 0.0),
        Protocol("sample-99", "uniform", 99, False),
        Protocol("pop-100", "popularity", 100, False),
    )
}
"""Every protocol by its name."""


def get_protocol(name: str | Protocol) -> Protocol:
    """The protocol of that name.

    Raises:
        InputError: the name is not known; the message lists the choices.
    """
    if isinstance(name, Protocol):
        return name
    if name not in PROTOCOLS:
        raise InputError(f"protocol={name!r} is not known; choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
