"""Variants of recipes, compared over data sets."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

from recloom.result_pages.cells import GENERATED, spread

VARIANTS = f"""# Variants

{GENERATED} from the results; do not edit. A recipe with variants trains them all alike but for
what their names say. Each is compared with the first by NDCG@10 under each protocol: on validation, where the decision
whether a part is kept belongs, and on test. Mean over seeds ± standard deviation; changes are those of the seeds that
both have; each "+", "-" or "=" is one that rose, fell or stayed on validation. Terms of seen items are fitted to the
validation targets, so that under full-open the validation of a variant that has them flatters it a little.

Below each table: where validation, under the first protocol that has one, rose and fell against the first variant, with
the number of seeds, and the remarks of the recipes. A part is worth keeping where validation falls without it, or rises
with it, on three data sets with three seeds.
"""


def table_of_variants(results: list[dict[str, Any]]) -> str:
    """The Markdown page that compares the variants of recipes of one name with the first, over data sets."""
    lines = [VARIANTS]
    recipes: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        if result.get("variants") and result["seeds"]:
            recipes.setdefault(Path(result["file"]).stem, []).append(result)
    for recipe, found in sorted(recipes.items()):
        lines.append(f"## {recipe}\n")
        lines.append("| variant | data | protocol | validation | change | seeds | test | change |")
        lines.append("|---|---|---|---:|---:|---:|---:|---:|")
        order = {name: at for at, name in enumerate(found[0]["variants"])}
        first = {result["dataset"]: result for result in found if result["variant"] == result["variants"][0]}
        for result in sorted(found, key=lambda one: (order.get(one["variant"], len(order)), one["dataset"])):
            for protocol in next(iter(result["seeds"].values()))["protocols"]:
                lines.append(_variant_row(result, first.get(result["dataset"]), protocol))
        lines += ["", *_over_data_sets(found, first, list(order)), ""]
        remarks = {result["dataset"]: result["remark"] for result in found if result.get("remark")}
        lines += [*(f"- {dataset}: {remark}" for dataset, remark in remarks.items()), ""] if remarks else []
    return "\n".join(lines).rstrip() + "\n"


def _variant_row(result: dict[str, Any], first: dict[str, Any] | None, protocol: str) -> str:
    """One variant on one data set beside the first variant there."""
    valid, test = _validated(result, protocol), _tested(result, protocol)
    beside = {} if first is None or first is result else first
    base_valid, base_test = _validated(beside, protocol), _tested(beside, protocol)
    both = sorted(valid.keys() & base_valid.keys())
    signs = [_sign(valid[seed] - base_valid[seed]) for seed in both]
    cells = [
        result["variant"],
        result["dataset"],
        protocol,
        spread(list(valid.values())),
        _change(valid, base_valid),
        " ".join([str(len(test)), *signs]),
        spread(list(test.values())),
        _change(test, base_test),
    ]
    return f"| {' | '.join(cells)} |"


def _over_data_sets(found: list[dict[str, Any]], first: dict[str, dict[str, Any]], variants: list[str]) -> list[str]:
    """A table of where each variant's validation rose and fell."""
    rows = []
    for variant in variants[1:]:
        places: dict[str, list[str]] = {"+": [], "-": [], "=": []}
        for result in found:
            beside = first.get(result["dataset"])
            if result["variant"] != variant or beside is None:
                continue
            for protocol in next(iter(result["seeds"].values()))["protocols"]:
                ours, theirs = _validated(result, protocol), _validated(beside, protocol)
                both = ours.keys() & theirs.keys()
                if both:
                    sign = _sign(mean(ours[seed] for seed in both) - mean(theirs[seed] for seed in both))
                    places[sign].append(f"{result['dataset']} ({len(both)})")
                    break
        if any(places.values()):
            rows.append(f"| {variant} | {', '.join(places['+'])} | {', '.join(places['-'])} |")
    return ["| variant | rises on | falls on |", "|---|---|---|", *rows] if rows else []


def _sign(change: float) -> str:
    return "+" if change > 0 else "-" if change < 0 else "="


def _change(ours: dict[str, float], theirs: dict[str, float]) -> str:
    """How far the mean over the seeds that both have is from theirs, in percent of it."""
    both = ours.keys() & theirs.keys()
    if not both or not mean(theirs[seed] for seed in both):
        return ""
    return f"{100 * (mean(ours[seed] for seed in both) / mean(theirs[seed] for seed in both) - 1):+.1f} %"


def _validated(result: dict[str, Any], protocol: str) -> dict[str, float]:
    """NDCG@10 on validation, by seed; of older results what selected the weights, if it was that."""
    values = {}
    for seed, entry in result.get("seeds", {}).items():
        found, chosen = entry["protocols"].get(protocol, {}).get("validation"), entry.get("selected") or {}
        if found is not None:
            values[seed] = found["NDCG@10"]
        elif (chosen.get("metric"), chosen.get("protocol")) == ("NDCG@10", protocol):
            values[seed] = chosen["value"]
    return values


def _tested(result: dict[str, Any], protocol: str) -> dict[str, float]:
    """NDCG@10 on test, by seed."""
    return {
        seed: entry["protocols"][protocol]["metrics"]["NDCG@10"]
        for seed, entry in result.get("seeds", {}).items()
        if protocol in entry["protocols"]
    }
