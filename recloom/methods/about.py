"""What a table of methods says about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class About:
    """What a method is made of.

    Args:
        paper, year: where it was published; "" and 0 where nowhere.
        attributes: what it makes of the items' attributes: "needed", "read" where there are any, or "unread".
        sequential: whether it reads the order of a history.
    """

    paper: str
    year: int
    attributes: Literal["needed", "read", "unread"] = "unread"
    sequential: bool = True

    @property
    def needs(self) -> str:
        """What the data must hold."""
        return "actions, attributes" if self.attributes == "needed" else "actions"
