"""The queries of a trained method as an ONNX graph: item indices in, vectors out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.errors import InputError
from recloom.items.embedder import ItemEmbedder
from recloom.nn.users import UserEmbedding

if TYPE_CHECKING:
    from recloom.training.method import Method

INPUT, OUTPUT = "items", "queries"
EXAMPLE = ((1, 2, 1), (1, 0, 0), (2, 1, 0))
"""Rows that the graph is traced with; batch and length stay free."""


class EncodedItems(ItemEmbedder):
    """What an embedder gives for each id in eval mode, as one table; its attributes are read no more."""

    vectors: Tensor

    def __init__(self, embedder: ItemEmbedder) -> None:
        super().__init__()
        self.n_items, self.dim = embedder.n_items, embedder.dim
        self.register_buffer("vectors", embedder(torch.arange(embedder.n_items + 2)))

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.vectors)

    def table(self) -> Tensor:
        return self.vectors


class NobodyKnown(nn.Module):
    """A user embedding that reads everybody as a user who was not trained: their mean."""

    vector: Tensor

    def __init__(self, users: UserEmbedding) -> None:
        super().__init__()
        self.register_buffer("vector", users.mean())

    def forward(self, users: Tensor) -> Tensor:
        return self.vector.expand(users.shape[0], -1)


class Recurrence(nn.Module):
    """`nn.GRU`, batch first, by ONNX's own operator, which takes the gates in the order update, reset, new."""

    def __init__(self, unit: nn.GRU) -> None:
        super().__init__()
        self.layers, self.hidden = unit.num_layers, unit.hidden_size
        zeros = torch.zeros(3 * self.hidden)
        for layer in range(self.layers):
            for name in ("weight_ih", "weight_hh"):
                self.register_buffer(f"{name}_{layer}", self._reorder(getattr(unit, f"{name}_l{layer}"))[None])
            biases = [getattr(unit, f"{name}_l{layer}", zeros) for name in ("bias_ih", "bias_hh")]
            self.register_buffer(f"bias_{layer}", torch.cat([self._reorder(bias) for bias in biases])[None])

    def _reorder(self, gates: Tensor) -> Tensor:
        reset, update, new = gates.detach().chunk(3)
        return torch.cat([update, reset, new])

    def forward(self, vectors: Tensor) -> tuple[Tensor, None]:
        states = vectors.transpose(0, 1)
        for layer in range(self.layers):
            numbers = [getattr(self, f"{name}_{layer}") for name in ("weight_ih", "weight_hh", "bias")]
            states = torch.onnx.ops.symbolic(
                "GRU",
                (states, *numbers),
                {"hidden_size": self.hidden, "linear_before_reset": 1},
                dtype=states.dtype,
                shape=(states.shape[0], 1, states.shape[1], self.hidden),
            )[:, 0]
        return states.transpose(0, 1), None


class Queries(nn.Module):
    """What is traced: histories of nobody in particular -> queries."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, items: Tensor) -> Tensor:
        return self.method.queries(SequenceBatch(torch.full_like(items[:, 0], -1), items)).float()


@torch.no_grad()
def queries_to_onnx(method: Method, file: Path) -> None:
    """Write the graph `items (batch, length) int64 -> queries (batch, intents, dim) float32`.

    Rows are right-padded with 0, as those of `SequenceBatch`. Item vectors are encoded once and lie in the graph, and
    users are nobody of the training data.

    Args:
        method: trained and on the CPU; its parts are replaced, so it is of no use afterwards.

    Raises:
        InputError: the packages of the extra `export` are missing, or the method cannot be written as ONNX.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError("exporting needs onnx and onnxscript: pip install 'recloom[export]'") from error
    model = Queries(method.eval())
    _replace_parts(model)
    free = torch.export.Dim.DYNAMIC
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                (torch.tensor(EXAMPLE)[:, : method.length],),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={INPUT: {0: free, 1: free}},
            )
            assert program is not None
            program.save(file)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        first = str(error.__cause__ or error).strip().splitlines()[0]
        raise InputError(
            f"{method.name} cannot be written as ONNX ({first}); recommend from its run, which needs no export"
        ) from error


def _replace_parts(model: nn.Module) -> None:
    """Parts by others that give the same in eval mode and that ONNX has operators for."""
    for part in list(model.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, ItemEmbedder):
                setattr(part, name, EncodedItems(child))
            elif isinstance(child, UserEmbedding):
                setattr(part, name, NobodyKnown(child))
            elif isinstance(child, nn.GRU):
                setattr(part, name, Recurrence(child))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages it could also use."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
