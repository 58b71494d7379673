"""All results by data set, beside published ones."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import mean
from typing import Any

from recloom.result_pages.cells import GENERATED, spread

COLUMNS = ("HR@1", "HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20", "MRR")
HEAD = f"""# Results

{GENERATED}, which wrote every number here; do not edit. Each value is the mean over seeds ± their
standard deviation, on the test part, with the weights of the epoch that was best on validation by the metric and under
the protocol named. The JSON files hold, for every seed, all metrics with bootstrap intervals over users, the arguments,
the data's fingerprint, commit, processor and versions. The data are the public sets of these names as the papers'
authors published them; `recloom reproduce --help` says how they lie in a folder.

Protocols: `full-mask` ranks every item but those of the user's input; `full-open` leaves them in; `sample-99` ranks the
target among 99 uniform negatives, drawn by us or, where it says "given", those published with the data; `pop-100` among
100 drawn by popularity in training. The split is leave-one-out: the last item is the test target, the one before it the
validation target; what other people did after that moment is trained on, as in all published rows. In the rows in
italics: what was published for the same data and protocol (where that is not said, the row tells), and how far our row
is from it. A star behind a commit: measured with changes since. Epochs are those trained, in brackets the one whose
weights were kept: where that is the last or nearly so, more epochs may have found better ones. Training is the mean
seconds a seed took, and by how many threads, without validation, and without those of the run that it starts after.
[Variants](variants.md) of one recipe are compared over data sets on a page of their own, and so is [what the lists
hold](lists.md) beyond hits. Remarks below a table are those of the recipes. [Speed](speed.md) is measured apart.
"""


def table(results: list[dict[str, Any]]) -> str:
    """The Markdown page."""
    lines = [HEAD]
    for dataset in dict.fromkeys(result["dataset"] for result in results):
        found = [result for result in results if result["dataset"] == dataset and result["seeds"]]
        if not found:
            continue
        data = found[0]["data"]
        lines.append(f"## {dataset}\n")
        lines.append(f"{data['users']:,} users, {data['items']:,} items, {data['actions']:,} actions.\n")
        lines.append(
            f"| recipe | protocol | {' | '.join(COLUMNS)} | seeds | selected by | epochs | training | commit |"
        )
        lines.append("|---|---|" + "---:|" * (len(COLUMNS) + 1) + "---|---:|---:|---|")
        for result in found:
            lines += _rows(result)
        lines.append("")
        remarks = {Path(result["file"]).stem: result["remark"] for result in found if result.get("remark")}
        lines += [f"- {recipe}: {remark}" for recipe, remark in remarks.items()]
        lines += [""] if remarks else []
    return "\n".join(lines).rstrip() + "\n"


def _rows(result: dict[str, Any]) -> list[str]:
    """The rows of one result: one a protocol, each followed by the published rows."""
    seeds, rows = list(result["seeds"].values()), []
    file = result.get("file", f"{result['dataset']}/{result['recipe']}.toml")
    link = f"[{result['recipe']}](../recipes/{file})"
    epochs = f"{mean(seed['epochs'] for seed in seeds):.0f}{_best(seeds)}"
    begun = result.get("begun", {})
    after = f" after {begun['start']}" if begun.get("start") else ""
    seconds = f"{mean(seed['train_seconds'] for seed in seeds):.0f} s{_threads(seeds)}{after}"
    cost = f"{_selection(seeds[0])} | {epochs} | {seconds}"
    for protocol in seeds[0]["protocols"]:
        metrics = [seed["protocols"][protocol]["metrics"] for seed in seeds]
        values = {name: [found[name] for found in metrics if name in found] for name in COLUMNS}
        cells = [spread(values[name]) for name in COLUMNS]
        shown = f"{protocol}, given" if protocol == "sample-99" and begun.get("negatives") else protocol
        rows.append(f"| {link} | {shown} | {' | '.join(cells)} | {len(seeds)} | {cost} | {_commits(seeds)} |")
        for published in result["published"].get(protocol, []):
            cells = [_distance(published.get(name), values[name]) for name in COLUMNS]
            rows.append(f"| *{published.get('source', 'published')}* | {protocol} | {' | '.join(cells)} | | | | | |")
    return rows


def _best(seeds: list[dict[str, Any]]) -> str:
    """In brackets the epoch, counted from 1, whose weights were kept; nothing where validation chose none."""
    chosen = [seed["selected"]["epoch"] + 1 for seed in seeds if "epoch" in (seed["selected"] or {})]
    return f" ({mean(chosen):.0f})" if chosen else ""


def _selection(seed: dict[str, Any]) -> str:
    """Metric and protocol on validation that selected the weights."""
    if seed["selected"] is None:
        return "last epoch" if seed["epochs"] else ""
    return f"{seed['selected']['metric']} {seed['selected']['protocol']}"


def _threads(seeds: list[dict[str, Any]]) -> str:
    """By how many threads of a processor the seeds were trained, where that is known and no other device was there."""
    places = [seed.get("hardware", {}) for seed in seeds]
    found = sorted({place["threads"] for place in places if "threads" in place and not place.get("cuda")})
    return f" by {' or '.join(map(str, found))} thread{'s' * (found != [1])}" if found else ""


def _commits(seeds: list[dict[str, Any]]) -> str:
    """The commits the seeds were trained at, of older results measured, with a star where files differed from it."""
    full = [seed.get("commits") or [f"{seed['commit'] or 'none'}{'*' if seed['dirty'] else ''}"] for seed in seeds]
    names = [f"{name[:7]}{'*' if name.endswith('*') else ''}" for one in full for name in one]
    return ", ".join(dict.fromkeys(names)).replace("*", "\\*")


def _distance(published: float | None, ours: list[float]) -> str:
    """A published value and how far our mean is from it, in percent of it; equal to its last digit counts as 0."""
    if published is None:
        return ""
    if not ours or not published:
        return f"*{published:.4f}*"
    found = mean(ours)
    difference = 0.0 if math.isclose(round(found, 4), published, abs_tol=1e-9) else 100 * (found / published - 1)
    return f"*{published:.4f} ({difference:+.1f} %)*"
