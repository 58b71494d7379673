"""Train a list of stages in a folder, so that a killed run continues where it was."""

from __future__ import annotations

import logging
import os
import signal
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from safetensors.torch import load_file, save_file

from recloom.data.dataset import Dataset
from recloom.data.files import write_atomically
from recloom.data.module import SequenceData
from recloom.errors import InputError
from recloom.nn.users import UserEmbedding
from recloom.training.callbacks import (
    AverageWeights,
    Checkpoint,
    ProgressBar,
    ReleaseMemory,
    SeedEveryEpoch,
    StopEarly,
    Validate,
)
from recloom.training.denormals import without_denormals
from recloom.training.method import Method
from recloom.training.seen_items import fit_seen_items
from recloom.training.stage import Stage


def get_device(name: str) -> str:
    """ "cpu" or "cuda" by name, "auto" for what there is; an `InputError` where it is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device={name!r} is not known; choose 'auto', 'cpu' or 'cuda'")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device='cuda' was asked for, but torch sees no CUDA device; `recloom doctor` shows why")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


@dataclass(frozen=True)
class TrainOptions:
    """How training runs; nothing here belongs to the method.

    Args:
        seed: of weights, batches, dropout, views and negatives.
        device: "auto", "cpu" or "cuda".
        devices: processes (CPU) or cards (CUDA), by Lightning's launcher.
        precision: Lightning's, such as "32-true" or "bf16-mixed".
        progress: show the progress bar.
        tensorboard: also log for TensorBoard.
        share: of the users whose histories are trained on, drawn by `seed`; a smaller share is part of a larger one.
        corrupt: share of the training actions whose item is replaced by a uniform one, drawn by `seed`.
    """

    seed: int = 1
    device: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    progress: bool = True
    tensorboard: bool = False
    share: float = 1.0
    corrupt: float = 0.0

    def accelerator(self) -> str:
        return get_device(self.device)


def fit(stages: Sequence[Stage], data: Dataset, folder: Path, options: TrainOptions, first: int = 0) -> Method:
    """Train the stages in order and return the last one's method, holding its selected weights.

    `first` is the place of `stages[0]` in the whole list: a stage trained apart makes the draws it makes in its place.

    A finished stage leaves `stage-<i>.safetensors`; a stage under way leaves a checkpoint after each
    epoch. A second call with the same folder loads the first, continues from the second, and ends at
    the numbers an undisturbed run ends at. SIGTERM ends the process after a step with exit code 143.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index, stage in enumerate(stages, first):
        done = folder / f"stage-{index}.safetensors"
        if done.exists():
            stage.method.load_state_dict(load_file(done))
        elif stage.epochs:
            _train(stage, index, data, folder / f"stage-{index}", options)
            if is_first_process():
                save_weights(stage.method, done)
    return stages[-1].method.eval()


def is_first_process() -> bool:
    """Whether this process is the one of several that writes."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


def save_weights(method: Method, file: Path) -> None:
    """All parameters and buffers, as safetensors; denormal values, which would make serving slow, as 0."""
    weights = {
        name: without_denormals(value.detach().cpu().contiguous()) for name, value in method.state_dict().items()
    }
    write_atomically(file, lambda temporary: save_file(weights, temporary))


def _train(stage: Stage, index: int, data: Dataset, folder: Path, options: TrainOptions) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    module = SequenceData(
        data,
        stage.windows,
        length=stage.method.length,
        batch_size=stage.batch_size,
        seed=options.seed * 1000 + index,
        grouping=stage.grouping,
        counted=stage.counted,
        share=options.share,
        corrupt=options.corrupt,
        draw_seed=options.seed,
    )
    for part in stage.method.modules():
        if isinstance(part, UserEmbedding):
            part.train_only(torch.from_numpy(module.windows.users))
    every_epoch: dict[str, Any] = {"dirpath": folder, "save_on_train_epoch_end": True, "enable_version_counter": False}
    callbacks: list[L.Callback] = [
        SeedEveryEpoch(options.seed, index),
        *([AverageWeights(stage.averaging)] if stage.averaging else []),
        ReleaseMemory(),
        Validate(data, folder, stage.monitor, stage.protocol),
    ]
    best = None
    if stage.monitor is not None:
        monitor = f"valid/{stage.monitor}"
        stop = StopEarly(monitor, mode="max", patience=stage.patience, check_on_train_epoch_end=True)
        best = Checkpoint(filename="best-{epoch}", monitor=monitor, mode="max", **every_epoch)
        callbacks += [stop, best]
    if options.progress:
        callbacks.append(ProgressBar(stage.name, stage.monitor))
    callbacks.append(Checkpoint(filename="last", **every_epoch))  # behind the best, whose state it holds
    last = folder / "last.ckpt"
    if last.exists() and not zipfile.is_zipfile(last):
        raise InputError(f"{last} is damaged; delete it, and this stage begins anew")
    heard = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            _trainer(stage, folder, callbacks, options).fit(
                stage.method, datamodule=module, ckpt_path=last if last.exists() else None, weights_only=True
            )
        except SIGTERMException as stop:  # which Lightning lets end in exit code 0, as if all were done
            raise SystemExit(128 + signal.SIGTERM) from stop
        except SystemExit as stop:
            if not isinstance(stop.__context__, KeyboardInterrupt):
                raise
            signal.signal(signal.SIGINT, heard)  # Lightning answers Ctrl-C by leaving, with SIGINT unheard
            raise KeyboardInterrupt from stop
    if best is not None and best.best_model_path:
        kept = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        stage.method.load_state_dict(kept["state_dict"])
    stage.method.to(options.accelerator())  # which Lightning has taken it from
    if stage.method.seen_items is not None:
        fit_seen_items(stage.method, stage.method.seen_items, data)


def _trainer(stage: Stage, folder: Path, callbacks: list[L.Callback], options: TrainOptions) -> L.Trainer:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logger: Any = False
    if options.tensorboard:
        from lightning.pytorch.loggers import TensorBoardLogger

        logger = TensorBoardLogger(str(folder), name="", version="tensorboard")
    return L.Trainer(
        accelerator=options.accelerator(),
        devices=options.devices,
        strategy="auto" if options.devices == 1 else "ddp_find_unused_parameters_true",
        precision=options.precision,  # type: ignore[arg-type]
        max_epochs=stage.epochs,
        logger=logger,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=stage.gradient_clip if stage.method.automatic_optimization else None,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        log_every_n_steps=1_000_000,
    )
