"""What watches a training run: seeding, validation, the history file, one progress bar."""

from __future__ import annotations

import ctypes
import math
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
import polars as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from recloom.data.dataset import Dataset
from recloom.data.files import write_atomically
from recloom.data.module import SequenceData
from recloom.errors import InputError
from recloom.training.evaluate import evaluate
from recloom.training.method import Method
from recloom.training.stage import ANY3

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Settings of the GNU C library's heap, as its `malloc.h` numbers them."""


class SeedEveryEpoch(L.Callback):
    """Sets every source of randomness from (seed, stage, epoch), so that a resumed run repeats an undisturbed one."""

    def __init__(self, seed: int, stage: int) -> None:
        self.seed, self.stage = seed, stage

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data: SequenceData = trainer.datamodule  # type: ignore[attr-defined]
        assert data.training is not None and isinstance(pl_module, Method)
        data.training.epoch = trainer.current_epoch
        state = torch.Generator().manual_seed(self.seed)
        for step in (self.stage, trainer.current_epoch, trainer.global_rank):
            state.manual_seed(int(torch.randint(2**62, (1,), generator=state)) + step)
        draw = int(torch.randint(2**62, (1,), generator=state))
        torch.manual_seed(draw)
        pl_module.generator.manual_seed(draw + 1)


class Validate(L.Callback):
    """Ranks the validation items after each epoch, logs the values, and keeps them in `history.csv`.

    Every process ranks all users, so the values are the same everywhere and need no exchange.
    """

    def __init__(self, data: Dataset, folder: Path, monitor: str | None, protocol: str = "full-mask") -> None:
        self.data, self.file, self.monitor, self.protocol = data, folder / "history.csv", monitor, protocol
        self.rows: list[dict[str, float]] = []
        self.began = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Method)
        row: dict[str, float] = {"epoch": trainer.current_epoch, **pl_module.epoch_losses()}
        trained = time.perf_counter()
        finite = all(map(math.isfinite, row.values()))
        if not finite or not all(bool(value.isfinite().all()) for value in pl_module.parameters()):
            raise InputError(
                f"{pl_module.name}: after epoch {trainer.current_epoch + 1} losses or weights are not finite (NaN or "
                "infinite), so its training has diverged; lower lr"
            )
        if self.monitor is not None:
            exact = self.monitor == "MRR"
            result = evaluate(pl_module, self.data, "valid", self.protocol, exact=exact, lists=False)
            row |= {f"valid/{name}": value for name, value in result.metrics().items()}
        if self.monitor == "any3":
            row["valid/any3"] = any_of_three([*self.rows, row])
        pl_module.log_dict({name: value for name, value in row.items() if name != "epoch"})
        row |= {"train_seconds": trained - self.began, "valid_seconds": time.perf_counter() - trained}
        self.rows.append(row)
        if trainer.is_global_zero:
            history = pl.DataFrame(self.rows, infer_schema_length=None)
            write_atomically(self.file, lambda temporary: history.write_csv(temporary))

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


def any_of_three(rows: list[dict[str, float]]) -> float:
    """How many epochs have counted as better, by any of `ANY3`; 0 if the last of them does not.

    An epoch that does takes the place of the one before it in all three, so that the others may fall.
    """
    kept, n, better = [-math.inf] * len(ANY3), 0, False
    for row in rows:
        values = [row[f"valid/{name}"] for name in ANY3]
        better = any(now > before for now, before in zip(values, kept, strict=True))
        kept, n = (values, n + 1) if better else (kept, n)
    return float(n) if better else 0.0


class Checkpoint(ModelCheckpoint):
    """Lightning's, which also finds its files again where the folder of the run was moved while it was stopped."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {"dirpath": self.dirpath, **{name: here(state_dict[name]) for name in names}}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best})


class StopEarly(EarlyStopping):
    """Lightning's, which also stops a resumed training that had stopped already, before its weights were saved."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class AverageWeights(L.Callback):
    """Keeps a running mean of the weights; it stands in their place from the end of each epoch to the next one's start.

    What is validated, and what the checkpoints hold, is the mean; a checkpoint holds the weights themselves here, so
    that a resumed run trains on from them.

    Args:
        decay: a of `a * mean + (1 - a) * weights` after each step, at most `(1 + steps) / (10 + steps)`.
    """

    def __init__(self, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.mean: dict[str, torch.Tensor] = {}
        self.own: dict[str, torch.Tensor] = {}

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._put(pl_module, self.own)
        start = {name: value.detach() for name, value in pl_module.named_parameters()}
        self.mean = {name: self.mean.get(name, value).to(value.device, copy=True) for name, value in start.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in pl_module.named_parameters():
            self.mean[name].lerp_(value, 1 - decay)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.own = {name: value.detach().clone() for name, value in pl_module.named_parameters()}
        self._put(pl_module, self.mean)

    @staticmethod
    @torch.no_grad()
    def _put(method: L.LightningModule, values: dict[str, torch.Tensor]) -> None:
        for name, value in method.named_parameters():
            if name in values:
                value.copy_(values[name])

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "mean": self.mean, "own": self.own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps, self.mean, self.own = state_dict["steps"], dict(state_dict["mean"]), dict(state_dict["own"])


class ReleaseMemory(L.Callback):
    """Gives freed blocks back to the system after each epoch, and not before.

    Blocks of megabytes, which every step frees and asks for again, would otherwise go back at once, and the system
    would clear their pages anew in every step, which costs much where rows are long. Batches differ in size, though, so
    the heap frays and would grow from epoch to epoch. The settings are those of the GNU C library, for the process, and
    stay when training is over; elsewhere nothing is done.
    """

    def __init__(self) -> None:
        library = ctypes.CDLL(None) if sys.platform == "linux" else None
        self.trim = getattr(library, "malloc_trim", None)
        self.set = getattr(library, "mallopt", None)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.set is not None and self.trim is not None:
            self.set(M_MMAP_THRESHOLD, 1 << 30)
            self.set(M_TRIM_THRESHOLD, (1 << 31) - 1)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.trim is not None:
            self.trim(0)


class ProgressBar(L.Callback):
    """One bar over all epochs of a stage, with the latest loss and the best validation value."""

    def __init__(self, name: str, monitor: str | None) -> None:
        self.name, self.monitor, self.best, self.task = name, monitor, float("-inf"), TaskID(0)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"),
            TimeRemainingColumn(), TextColumn("{task.fields[values]}"),
        )  # fmt: skip

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        done = trainer.current_epoch
        self.task = self.bar.add_task(self.name, total=trainer.max_epochs, completed=done, values="")
        self.bar.start()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        text = f"loss {values.get('loss/total', float('nan')):.3f}"
        if self.monitor == "any3":
            text += "  valid " + ", ".join(f"{name} {values[f'valid/{name}']:.4f}" for name in ANY3)
        elif self.monitor is not None:
            now = values[f"valid/{self.monitor}"]
            self.best = max(self.best, now)
            text += f"  valid {self.monitor} {now:.4f}, best {self.best:.4f}"
        self.bar.update(self.task, advance=1, values=text)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.bar.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.bar.stop()
