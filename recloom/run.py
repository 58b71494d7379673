"""A run: what training leaves, a folder that evaluates and recommends."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tomli_w
from safetensors import SafetensorError
from safetensors.torch import load_file

from recloom import methods
from recloom.data.catalog import Catalog
from recloom.data.dataset import Dataset
from recloom.data.files import folder_atomically
from recloom.data.sequences import places_of
from recloom.errors import InputError
from recloom.evaluation import Evaluation
from recloom.recommend import Histories, Recommendations, Recommender
from recloom.recommend.artifact import write_artifact
from recloom.run_folder import WEIGHTS, holds_something_else
from recloom.run_recipe import read_recipe
from recloom.start import chosen_stages
from recloom.training import Method, evaluate
from recloom.training.fit import get_device, save_weights


class Run:
    """A trained method with its catalog and recipe.

    Attributes:
        method: the trained method.
        catalog: of the data it was trained on.
        recipe: format, method, numbers, options and data of the run, and the code's commits, hardware and versions
            that it was trained with, as in `recipe.toml`.
        path: its folder.
    """

    def __init__(
        self, path: Path, method: Method, catalog: Catalog, recipe: dict[str, Any], data: Dataset | None = None
    ) -> None:
        self.path, self.method, self.catalog, self.recipe, self._data = path, method, catalog, recipe, data
        self._recommender: Recommender | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def __repr__(self) -> str:
        return f"Run({self.recipe['method']!r}, items={self.catalog.n_items:,}, path={str(self.path)!r})"

    @property
    def history(self) -> pl.DataFrame:
        """One row an epoch: losses, validation values, seconds. Empty for methods that only count."""
        files = sorted(self.path.glob("history-*.csv"))
        frames = [pl.read_csv(file).with_columns(stage=pl.lit(int(file.stem[8:]))) for file in files]
        return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()

    @property
    def cost(self) -> dict[str, float]:
        """What training took over all stages: `epochs`, and the `train_seconds` and `valid_seconds` of them."""
        history = self.history
        return {"epochs": history.height} | {
            name: float(history[name].sum()) if history.height else 0.0 for name in ("train_seconds", "valid_seconds")
        }

    @property
    def selected(self) -> dict[str, Any] | None:
        """What selected the weights; None if nothing did.

        `metric` and `protocol`, its `value` on validation (of "any3", how many epochs had counted as better), and the
        `epoch`, counted from 0 over all stages.
        """
        history = self.history
        if history.is_empty():
            return None
        stages = methods.build(self.recipe["method"], self.catalog, **self.recipe["numbers"])
        stage = chosen_stages(stages, self.recipe["training"].get("stage"), 0)[0][-1]
        last, column = history.filter(history["stage"] == history["stage"].max()), f"valid/{stage.monitor}"
        if column not in last.columns:
            return None
        best = last.row(int(last[column].arg_max() or 0), named=True)
        return {
            "metric": stage.monitor,
            "protocol": stage.protocol,
            "value": best[column],
            "epoch": history.height - last.height + best["epoch"],
        }

    def data(self, given: Dataset | str | Path | None = None, *, any_data: bool = False) -> Dataset:
        """The data to evaluate on: what is given, else what the run was trained on.

        Raises:
            InputError: it is not to be found, or is not the data of the run (unless `any_data`).
        """
        wanted = self.recipe["data"]
        if given is None and self._data is not None:
            return self._data
        source = given if given is not None else wanted.get("path")
        if source is None:
            raise InputError(f"{self.path}: the run was trained on data held in memory; give the data to evaluate on")
        data = source if isinstance(source, Dataset) else Dataset.load(Path(source))
        if data.fingerprint == wanted["fingerprint"]:
            if given is None:
                self._data = data
            return data
        if not any_data:
            raise InputError(
                f"{self.path} was trained on data with fingerprint {wanted['fingerprint']}, but "
                f"{data.path or 'this data'} has {data.fingerprint}. Use the data of the run or train on these; "
                f"to evaluate on others, say any_data=True (--any-data)."
            )
        if data.catalog.item_ids.tolist() != self.catalog.item_ids.tolist():
            raise InputError(
                f"{self.path} knows other items ({self.catalog.n_items:,}) than the data ({data.n_items:,}); they "
                "must be the same, so prepare the data from a log of the same items"
            )
        return data

    def evaluate(
        self,
        protocol: str = "full-mask",
        k: int | Sequence[int] = (5, 10, 20),
        part: str = "test",
        data: Dataset | str | Path | None = None,
        *,
        any_data: bool = False,
        **options: Any,
    ) -> Evaluation:
        """Rank the held-out items; see `recloom.training.evaluate` for the arguments.

        With `any_data`, users of other data are those of the run if all ids are the same; else all of them are new.
        """
        found, wanted = self.data(data, any_data=any_data), self.recipe["data"]
        known = found.fingerprint == wanted["fingerprint"] or found.users_fingerprint == wanted.get("users")
        return evaluate(self.method, found, part, protocol, k, name=self.recipe["method"], known_users=known, **options)

    def recommender(self) -> Recommender:
        """Histories in, items out, with the catalogue encoded once."""
        if self._recommender is None:
            self._recommender = Recommender(self.method, self.catalog, device=str(self.method.device))
        return self._recommender

    def recommend(
        self, histories: Any = None, k: int = 10, *, users: Iterable[Any] | None = None, **options: Any
    ) -> Recommendations:
        """Recommend for raw histories, or for users of the data by id (their whole history is read).

        Args:
            histories: lists of item ids, oldest first, or a frame of actions.
            users: ids of users of the run's data, instead of histories.
            options: `filter_seen`, `allow`, `deny`, `cold` of `Recommender.recommend`.
        """
        if (histories is None) == (users is None):
            raise InputError("recommend: give either histories or users")
        return self.recommender().recommend(histories if users is None else self.histories(users), k, **options)

    def histories(self, users: Iterable[Any] | None = None) -> Histories:
        """The whole histories of users of the run's data, by id; of all of them if None."""
        data = self.data()
        offsets, items = data.sequences.offsets, data.sequences.items
        if users is None:
            return Histories(data.user_ids, items, offsets, numbers=np.arange(data.n_users))
        if isinstance(users, (str, bytes)) or not isinstance(users, Iterable):
            raise InputError(f"users is one {type(users).__name__}; give a list of ids, such as [{users!r}]")
        rows = np.array([data.user_index(user) for user in users], dtype=np.int64)
        start, lengths = offsets[rows], offsets[rows + 1] - offsets[rows]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        return Histories(data.user_ids[rows], items[places_of(start, lengths)], ends, numbers=rows)

    def similar(self, item: Any, k: int = 10) -> pl.DataFrame:
        """The items nearest to one item."""
        return self.recommender().similar(item, k)

    def export(self, folder: str | Path) -> Path:
        """Write an artifact: what `recloom.Artifact` recommends from, without training code. An older one is replaced.

        Raises:
            InputError: see `recloom.recommend.artifact.write_artifact`.
        """
        data = {key: value for key, value in self.recipe["data"].items() if key != "path"}
        return write_artifact(folder, self.method, self.catalog, self.recipe | {"data": data})

    def save(self, folder: str | Path) -> Path:
        """Write the run to another folder: all that `load` needs. An older run there is replaced.

        Raises:
            InputError: the folder holds something else.
        """
        target = Path(folder).expanduser()
        if holds_something_else(target):
            raise InputError(f"{target} holds something else than a run; choose another folder, or empty it yourself")
        with folder_atomically(target) as temporary:
            _write(temporary, self.method, self.catalog, self.recipe)
            for file in self.path.glob("history-*.csv"):
                shutil.copy(file, temporary)
        return target


def load(folder: str | Path, data: Dataset | None = None, device: str = "cpu") -> Run:
    """Open a run: `build` is called again and the weights are filled in. Nothing is unpickled.

    Args:
        folder: of the run.
        data: that of the run, where it is at hand; else it is read when it is needed.
        device: where it evaluates and recommends: "cpu", "cuda", or "auto" for a card where there is one.

    Raises:
        InputError: the folder is no finished run, or of a later format; these are other data than the run's; there is
            no such device.
    """
    path = Path(folder).expanduser()
    recipe = read_recipe(path)
    if not (path / WEIGHTS).exists():
        raise InputError(f"{path} holds a run that has not finished; run the same `recloom train` again to continue it")
    catalog = Catalog.load(path)
    stages = methods.build(recipe["method"], catalog, **recipe["numbers"])
    method = chosen_stages(stages, recipe["training"].get("stage"), 0)[0][-1].method
    try:
        weights = load_file(path / WEIGHTS)
    except SafetensorError as error:
        raise InputError(f"{path / WEIGHTS} is damaged: {error}; train again into another folder") from error
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{path / WEIGHTS} does not fit {path / 'recipe.toml'}: {error}") from error
    run = Run(path, method.to(get_device(device)).eval(), catalog, recipe)
    if data is not None:
        run._data = run.data(data)
    return run


def _write(folder: Path, method: Method, catalog: Catalog, recipe: dict[str, Any]) -> None:
    catalog.save(folder)
    (folder / "recipe.toml").write_text(tomli_w.dumps(recipe), encoding="utf-8")
    save_weights(method, folder / WEIGHTS)
