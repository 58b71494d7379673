"""What benchmarks measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recloom.result_pages.cells import GENERATED

SPEED = f"""# Speed

{GENERATED} from what the scripts in `benchmarks` measured; do not edit. What stands below one heading was
measured in one run on one machine; each script says what its numbers are. Ratios carry over to other machines better
than seconds do.
"""
ORIGIN = ("data", "hardware", "commits", "versions")
"""What a benchmark tells beside its numbers."""


def table_of_speed(benchmarks: dict[str, dict[str, Any]]) -> str:
    """The Markdown page of what benchmarks, by their names, measured: every number by its own."""
    lines = [SPEED]
    for name, found in sorted(benchmarks.items()):
        hardware = found.get("hardware", {})
        origin = [found.get("data", ""), hardware.get("processor", ""), f"{hardware.get('threads', '?')} threads"]
        origin += [commit[:7] for commit in found.get("commits", [])]
        lines += [f"## [{name}](../benchmarks/{name}.py)\n", "; ".join(filter(None, origin)) + ".\n"]
        lines += ["| | |", "|---|---:|"]
        numbers = {key: value for key, value in found.items() if key not in ORIGIN}
        lines += [*(f"| {path} | {value} |" for path, value in _leaves(numbers)), ""]
    return "\n".join(lines).rstrip() + "\n"


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """All values of nested JSON as texts, by the names that lead to them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}, {key}".removeprefix(", ").replace("_", " "))
    elif isinstance(value, list):
        yield name, ", ".join(text for inner in value for _, text in _leaves(inner))
    else:
        yield name, f"{value:,}" if isinstance(value, int) else str(value)
