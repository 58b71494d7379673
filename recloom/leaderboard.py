"""What a comparison of methods found: a table with spread, intervals, tests and cost, and how it was measured."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from recloom.data.files import write_text_atomically
from recloom.evaluation import Evaluation


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        leaderboard: one row a method, best first: mean, standard deviation over seeds (`_sd`) and 95 % bootstrap
            interval over users (`_low`, `_high`) of each metric, seeds, training seconds and epochs of a seed, the
            epoch whose weights were kept (`best_epoch`, the stages' epochs counted on from 1), parameters, and what
            selected them on validation (`selected_by`).
        tests: paired tests of every method against each of the baselines, with Holm's correction over all of them.
        protocol, metric, baselines: what was ranked how, by what the table is sorted, and what the tests are against.
        data: fingerprint, users, items, actions and split.
        recipes: by method, that of its run with the first seed: arguments, and where it was trained, with the commits
            of all seeds.
        evaluations: by method, one a seed, with per-user ranks.
        missing: methods that were still to come when the table was written.
        failed: why a method is left out, by method.
        command: the command line that measures the same; DATA stands for the folder of the data.
    """

    leaderboard: pl.DataFrame
    tests: pl.DataFrame
    protocol: str
    metric: str
    baselines: Sequence[str]
    data: Mapping[str, Any] = field(repr=False)
    recipes: Mapping[str, Mapping[str, Any]] = field(repr=False)
    evaluations: Mapping[str, Sequence[Evaluation]] = field(repr=False)
    missing: Sequence[str] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    def markdown(self) -> str:
        """The leaderboard with intervals, spread, cost and p-values, as a Markdown table."""
        shown = shown_metrics(self.leaderboard.columns, self.metric)
        p = {(row["method"], row["against"]): f"{row['p_holm']:.2g}" for row in self.tests.to_dicts()}
        heads = ["p"] if len(self.baselines) == 1 else [f"p {name}" for name in self.baselines]
        costs = ["seeds", "epochs", "seconds", "parameters"]
        against = " and ".join(self.baselines)
        tested_how = f"; p: paired test of {self.metric} against {against} with Holm's correction" if against else ""
        lines = [
            f"Test part, {self.protocol}: mean ± standard deviation over seeds, 95 % interval over users for "
            f"{self.metric}{tested_how}; epochs trained and, in brackets, the one whose weights were kept.\n",
            f"| method | {' | '.join([*shown, 'interval', *heads, *costs])} | selected by |",
            f"|---|{'---:|' * (len(shown) + 1 + len(heads) + len(costs))}---|",
        ]
        for row in self.leaderboard.to_dicts():
            spread = {name: f" ± {row[f'{name}_sd']:.4f}" if row["seeds"] > 1 else "" for name in shown}
            values = [f"{row[name]:.4f}{spread[name]}" for name in shown]
            interval = f"{row[f'{self.metric}_low']:.4f} to {row[f'{self.metric}_high']:.4f}"
            tested = [p.get((row["method"], name)) or p.get((name, row["method"]), "") for name in self.baselines]
            kept = "" if row["best_epoch"] is None else f" ({row['best_epoch']:.0f})"
            cost = [f"{row['seeds']}", f"{row['epochs']:.0f}{kept}", f"{row['train_seconds']:.0f}"]
            cells = [row["method"], *values, interval, *tested, *cost, f"{row['parameters']:,}", row["selected_by"]]
            lines.append(f"| {' | '.join(cells)} |")
        if self.missing:
            lines += [
                "",
                f"Not finished. To come, which will change the tests' corrections: {', '.join(self.missing)}.",
            ]
        lines += [line for name, why in self.failed.items() for line in ("", f"Failed: {name}: {why}")]
        if self.command:
            lines += ["", f"Command: `{self.command}`"]
        return "\n".join([*lines, "", self._measured()]) + "\n"

    def _measured(self) -> str:
        """A sentence on the data, the code and the processor."""
        found = [recipe.get("environment", {}) for recipe in self.recipes.values()]
        commits = dict.fromkeys(name for one in found for name in one.get("commits", []))
        places = dict.fromkeys(
            f"{one['hardware'].get('cuda', one['hardware']['processor'])}, {one['hardware']['cores']} cores"
            for one in found
            if "hardware" in one
        )
        at = f" Code: {', '.join(commits)}." if commits else ""
        return (
            f"{self.data['users']:,} users, {self.data['items']:,} items, {self.data['actions']:,} actions, "
            f"{self.data['split']} split, fingerprint {self.data['fingerprint']}.{at} Trained on: {'; '.join(places)}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the ranks, ready for JSON."""
        return {
            "protocol": self.protocol,
            "metric": self.metric,
            "baselines": list(self.baselines),
            "command": self.command,
            "data": self.data,
            "leaderboard": self.leaderboard.to_dicts(),
            "tests": self.tests.to_dicts(),
            "missing": list(self.missing),
            "failed": dict(self.failed),
            "recipes": {
                label: {key: recipe[key] for key in ("method", "numbers", "environment") if key in recipe}
                for label, recipe in self.recipes.items()
            },
        }

    def write(self, folder: Path) -> None:
        """Both forms as `leaderboard.json` and `leaderboard.md`."""
        text = json.dumps(self.to_dict(), indent=1)
        write_text_atomically(folder / "leaderboard.json", text + "\n")
        write_text_atomically(folder / "leaderboard.md", self.markdown())


def shown_metrics(columns: Sequence[str], metric: str) -> list[str]:
    """The metrics of a leaderboard that people are shown: hits, and the one that sorts."""
    hits = [name for name in columns if name.split("@")[0] in ("HR", "NDCG", "Recall") and "_" not in name]
    return hits if metric in hits else [*hits, metric]


def command_line(
    methods: str,
    options: Mapping[str, Any],
    numbers: Mapping[str, Mapping[str, Any]],
    vary: Mapping[str, Mapping[str, Sequence[Any]]],
) -> str:
    """The command line of a comparison, with every option that changes its numbers."""
    given = [f"--{name}={value}" for name, value in {"methods": methods, **options}.items() if value]
    for name, varied in vary.items():
        given += [f"--vary={name}.{key}={','.join(map(_typed, values))}" for key, values in varied.items()]
    for name, chosen in numbers.items():
        given += [f"{name}.{key}={_typed(value)}".removeprefix(".") for key, value in chosen.items()]
    return shlex.join(["recloom", "compare", "DATA", *given])


def _typed(value: Any) -> str:
    """A value as it is typed on a command line: text as it is, all else as JSON, which TOML reads too."""
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
