"""An artifact: what recommending needs of a trained method and no more, in a folder that knows nothing of training."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recloom.data.batch import SequenceBatch, history_batch
from recloom.data.catalog import Catalog
from recloom.data.files import folder_atomically, others_in, write_atomically
from recloom.data.stored import read_json
from recloom.errors import InputError
from recloom.nn.seen_items import SeenItems
from recloom.recommend.recommendations import Recommendations
from recloom.recommend.recommender import Recommender
from recloom.recommend.to_onnx import INPUT, OUTPUT, queries_to_onnx

if TYPE_CHECKING:
    from recloom.training.method import Method

FORMAT = 1
FACTS, GRAPH, VECTORS = "artifact.json", "queries.onnx", "vectors.safetensors"
OWN = {FACTS, GRAPH, f"{GRAPH}.data", VECTORS, "catalog.json", "catalog.parquet"}
"""What an artifact's folder may hold; very large graphs keep their weights in a file of their own."""

LARGEST_DIFFERENCE = 1e-4
"""Between queries of the graph and the method's own, as a share of the largest value."""


OF_METHOD = ("method", "length", "bias_columns", "scores_cold_items", "reads_histories")
"""Facts that answering needs."""


class ExportedMethod:
    """A trained method as an artifact holds it: the catalogue, and queries by ONNX Runtime, on the CPU.

    Attributes: those that `Recommender` reads of a `Method`.
    """

    ranks_by, training = "vectors", False

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.name, self.length, self.bias_columns = facts["method"], facts["length"], facts["bias_columns"]
        self.scores_cold_items, self.reads_histories = facts["scores_cold_items"], facts["reads_histories"]
        self.device = torch.device("cpu")
        try:
            vectors = load_file(folder / VECTORS)
        except (OSError, SafetensorError) as error:
            raise _damaged(folder / VECTORS, error) from error
        self._catalogue = vectors.pop("catalogue")
        self.seen_items = SeenItems(len(vectors["recency"])) if vectors else None
        if self.seen_items is not None:
            self.seen_items.load_state_dict(vectors)
        self._session = _session(folder / GRAPH)

    def to(self, device: str) -> ExportedMethod:
        return self

    def eval(self) -> ExportedMethod:
        return self

    def queries(self, batch: SequenceBatch) -> Tensor:
        """`(batch, intents, dim)`; whoever the users are, they are nobody of the training data."""
        return torch.from_numpy(self._session.run([OUTPUT], {INPUT: batch.items.numpy()})[0])

    def catalogue(self) -> Tensor:
        """`(n_items + 2, dim)`."""
        return self._catalogue


class Artifact:
    """Histories in, items out, from an exported folder: no training code is read, nothing is unpickled.

    It answers as the run it was exported from does for histories of people it does not know by id.

    Args:
        folder: what `Run.export` or `recloom export` wrote.

    Attributes:
        path: the folder.
        facts: method, length, width, intents, and `run`, the recipe it was trained by with commits and versions.
        catalog: of the data it was trained on.

    Raises:
        InputError: the folder is no artifact, is damaged or of another format, or ONNX Runtime is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder).expanduser()
        if not is_artifact(self.path):
            raise InputError(f"{self.path} is no artifact: it has no {FACTS}; recloom export RUN -o FOLDER makes one")
        self.facts = read_json(self.path / FACTS, FORMAT, "export the run again")
        missing = {"files", *OF_METHOD} - set(self.facts)
        if missing:
            raise _damaged(self.path / FACTS, f"it names no {', '.join(sorted(missing))}")
        for name, sum_ in self.facts["files"].items():
            if not (self.path / name).is_file():
                raise InputError(f"{self.path} has no {name}; copy the whole folder, or export the run again")
            if _checksum(self.path / name) != sum_:
                raise _damaged(self.path / name, "its checksum is not that of artifact.json")
        self.catalog = Catalog.load(self.path)
        self._recommender = Recommender(ExportedMethod(self.path, self.facts), self.catalog)

    def __repr__(self) -> str:
        return f"Artifact({self.facts['method']!r}, items={self.catalog.n_items:,}, path={str(self.path)!r})"

    def recommender(self) -> Recommender:
        """Also into Parquet files."""
        return self._recommender

    def recommend(self, histories: Any, k: int = 10, **options: Any) -> Recommendations:
        """Recommend for raw histories; see `Recommender.recommend`."""
        return self._recommender.recommend(histories, k, **options)

    def similar(self, item: Any, k: int = 10) -> pl.DataFrame:
        """The items nearest to one item."""
        return self._recommender.similar(item, k)


def is_artifact(folder: Path) -> bool:
    """Whether the folder holds what `write_artifact` wrote."""
    return (folder / FACTS).is_file()


def write_artifact(folder: str | Path, method: Method, catalog: Catalog, run: Mapping[str, Any]) -> Path:
    """Write an artifact; an older one there is replaced, and the folder is whole or not there.

    The graph is read again and its queries are compared with the method's own before anything appears.

    Args:
        folder: of the artifact.
        method: trained; it stays as it is.
        catalog: of the items it was trained on.
        run: the recipe of the run, which the artifact keeps.

    Raises:
        InputError: a method that no artifact can hold, a missing package, or a folder that holds something else.
    """
    _require_vectors(method)
    target = Path(folder).expanduser()
    unfinished = target.is_dir() and any(target.iterdir()) and not is_artifact(target)
    if target.is_file() or others_in(target, OWN) or unfinished:
        raise InputError(f"{target} holds something else than an artifact; choose another folder, or empty it yourself")
    method = copy.deepcopy(method).to("cpu").eval()  # whose parts may be replaced
    with torch.no_grad():
        catalogue, examples = method.catalogue().float().contiguous(), _examples(catalog, method.length)
        wanted = [method.queries(batch).float() for batch in examples]
    vectors = {"catalogue": catalogue} | ({} if method.seen_items is None else method.seen_items.state_dict())
    facts = {
        "format": FORMAT,
        "method": method.name,
        "length": method.length,
        "dim": catalogue.shape[1],
        "intents": wanted[0].shape[1],
        "bias_columns": method.bias_columns,
        "scores_cold_items": method.scores_cold_items,
        "reads_histories": method.reads_histories,
        "run": dict(run),
    }
    with folder_atomically(target) as temporary:
        catalog.save(temporary)
        write_atomically(temporary / VECTORS, lambda file: save_file(vectors, file))  # readable as the others are
        queries_to_onnx(method, temporary / GRAPH)
        exported = ExportedMethod(temporary, facts)
        for batch, queries in zip(examples, wanted, strict=True):
            _require_equal(exported.queries(batch), queries, method.name)
        facts["files"] = {file.name: _checksum(file) for file in sorted(temporary.iterdir())}
        (temporary / FACTS).write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")
    return target


def _require_vectors(method: Method) -> None:
    """An `InputError` for a method that no artifact can hold."""
    reason = "it ranks by scores and has no vectors of items" if method.ranks_by != "vectors" else method.not_exported
    if reason:
        raise InputError(f"{method.name} cannot be exported: {reason}. Recommend from its run, which needs no export")


def _examples(catalog: Catalog, length: int) -> list[SequenceBatch]:
    """Histories that a graph is tried with: one of one item, a full one, and many of any length."""
    draw = np.random.default_rng(0)
    batches = ([1], [length], draw.integers(1, length + 1, 64))
    return [history_batch([draw.integers(1, catalog.n_items + 1, n) for n in found], length) for found in batches]


def _require_equal(found: Tensor, wanted: Tensor, name: str) -> None:
    difference = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30))
    if not difference <= LARGEST_DIFFERENCE:
        raise InputError(
            f"{name}: the exported graph gives other queries than the method (difference {difference:.1e} of the "
            "largest); nothing was written. Recommend from the run, which needs no export"
        )


def _session(file: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("an artifact is read with ONNX Runtime: pip install onnxruntime") from error
    try:
        return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        raise _damaged(file, error) from error


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _damaged(file: Path, error: object) -> InputError:
    return InputError(f"{file} is damaged: {str(error).splitlines()[0]}; export the run again")
