"""What a table of methods says about each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """Args: paper and year of a method ("" and 0 where there is none), and what it needs besides actions."""

    paper: str
    year: int
    needs: str = "actions"
