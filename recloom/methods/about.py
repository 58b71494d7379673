"""What a table of methods says about each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """What a method is made of.

    Args:
        paper, year: where it was published; "" and 0 where nowhere.
        needs: besides a log, such as "actions, attributes".
        sequential: whether it reads the order of a history.
    """

    paper: str
    year: int
    needs: str = "actions"
    sequential: bool = True
