"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Protocol = Annotated[str, typer.Option(help="full-mask, full-open, full-zero, sample-99 or pop-100.")]
Cutoffs = Annotated[str, typer.Option("--k", "-k", help="Cut-offs of the metrics.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
