"""What recommended lists hold beyond hits."""

from __future__ import annotations

from typing import Any

from recloom.result_pages.cells import GENERATED, spread

LIST_COLUMNS = ("NDCG@10", "coverage@10", "popularity@10", "novelty@10", "distance@10")
LISTS = f"""# What the lists hold

{GENERATED} from the results; do not edit. Of the first ten items of every test user's list, under
full-mask: coverage, the share of the catalogue that somebody is recommended; popularity, the mean training actions of
an item; novelty, the mean of minus the binary logarithm of an item's share of all training actions; distance, how
unlike the items of one list are by their attributes (one less the Jaccard index, mean over pairs), where it was
measured. Mean over seeds ± standard deviation. Lists that are right less often are easily more varied: read each value
beside NDCG@10.
"""


def table_of_lists(results: list[dict[str, Any]]) -> str:
    """The Markdown page of what the recommended lists hold, beyond hits."""
    lines = [LISTS]
    for dataset in dict.fromkeys(result["dataset"] for result in results):
        rows = []
        for result in results:
            seeds = [seed["protocols"].get("full-mask", {}).get("metrics", {}) for seed in result["seeds"].values()]
            if result["dataset"] == dataset and seeds and all("coverage@10" in found for found in seeds):
                cells = [spread([found[name] for found in seeds if name in found]) for name in LIST_COLUMNS]
                rows.append(f"| {result['recipe']} | {' | '.join(cells)} | {len(seeds)} |")
        if rows:
            lines += [f"## {dataset}\n", f"| recipe | {' | '.join(LIST_COLUMNS)} | seeds |"]
            lines += ["|---|" + "---:|" * (len(LIST_COLUMNS) + 1), *rows, ""]
    return "\n".join(lines).rstrip() + "\n"
