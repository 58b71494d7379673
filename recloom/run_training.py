"""Train a method on a data set: from prepared data and numbers to a run."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from recloom import methods
from recloom.data.dataset import Dataset
from recloom.data.module import training_catalog
from recloom.errors import InputError
from recloom.run import Run, load
from recloom.run_folder import WEIGHTS, WORK, begun
from recloom.run_recipe import FORMAT, numbers_to_write, require_same
from recloom.start import chosen_stages, origin, start_from
from recloom.training import Stage, TrainOptions, fit
from recloom.training.denormals import flush_denormals
from recloom.training.fit import is_first_process, save_weights


def without_validation(stages: list[Stage], numbers: dict[str, Any]) -> list[Stage]:
    """The stages, each to its last epoch, for data that hold nothing out.

    Raises:
        InputError: nobody said how many epochs, or terms of seen items, which validation fits, are asked for.
    """
    if "epochs" not in numbers and stages[-1].epochs:
        raise InputError(
            "these data hold nothing out (split 'none'), so validation cannot stop training; say epochs=N, such as the "
            "best epoch of the same training on the same log with another split"
        )
    if any(stage.method.seen_items is not None for stage in stages):
        raise InputError(
            "these data hold nothing out (split 'none'), and the terms of seen items are fitted on validation; say "
            "seen_items=false"
        )
    return [replace(stage, monitor=None) for stage in stages]


@flush_denormals()
def train(
    method: str,
    data: Dataset | str | Path,
    *,
    out: str | Path | None = None,
    seed: int = 1,
    device: str = "auto",
    devices: int = 1,
    progress: bool = True,
    tensorboard: bool = False,
    mixed_precision: bool = False,
    stage: str | None = None,
    start: Run | str | Path | None = None,
    share: float = 1.0,
    corrupt: float = 0.0,
    **numbers: Any,
) -> Run:
    """Train a method and return its run.

    Args:
        method: a name from `recloom.methods.METHODS`.
        data: prepared data, or the folder it was saved in.
        out: folder of the run; if None a temporary one, which goes with the run (`run.save` keeps it). A folder
            that holds an unfinished run of the same recipe is continued; a finished run of it is loaded.
        seed: makes the result, all of it, together with the recipe.
        device: "auto", "cpu" or "cuda"; `devices`: how many processes or cards.
        progress: show a progress bar.
        tensorboard: also write TensorBoard logs.
        mixed_precision: bf16 autocast of the whole step, for CUDA.
        stage: train this stage alone, such as "pretrain"; the run holds its method.
        start: a run whose backbone the training starts from. If it is an early stage of the same method, the stages
            after that one are trained, and the result is that of training all in one go.
        share: of the users whose histories are trained on, drawn by `seed`; all are evaluated. Items that none of them
            took count as never trained.
        corrupt: share of the training actions whose item is replaced by a uniform one, drawn by `seed`. The histories
            that are evaluated stay as they are.
        numbers: arguments of the method's `build`, such as `dim=64, epochs=30`.

    Raises:
        InputError: an unknown method, stage or argument, a folder that holds something else, a start that does not
            fit, or data that hold nothing out without a number of epochs.
    """
    if not isinstance(data, (Dataset, str, Path)):
        raise InputError(f"data is a {type(data).__name__}; recloom.prepare(...) makes prepared data of a log")
    data = data if isinstance(data, Dataset) else Dataset.load(data)
    options = TrainOptions(
        seed=seed,
        device=device,
        devices=devices,
        precision="bf16-mixed" if mixed_precision else "32-true",
        progress=progress,
        tensorboard=tensorboard,
        share=share,
        corrupt=corrupt,
    )
    options.accelerator()
    if tensorboard and not (find_spec("tensorboard") or find_spec("tensorboardX")):
        raise InputError("logs for TensorBoard need the package: pip install 'recloom[track]'")
    if not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise InputError(f"seed={seed!r} must be a whole number, at least 0 and below 2147483648")
    if not isinstance(devices, int) or devices < 1:
        raise InputError(f"devices={devices!r}: at least 1 is needed")
    if devices > 1 and out is None:
        raise InputError("devices > 1 starts several processes, which need one folder; give out=FOLDER")
    catalog = data.catalog if share == 1 and not corrupt else training_catalog(data, share, corrupt, seed)
    torch.manual_seed(seed)
    stages = methods.build(method, catalog, **numbers)
    before = None if start is None else start if isinstance(start, Run) else load(start)
    first = 0 if before is None else start_from(before, method, numbers, stages, catalog)
    stages, first = chosen_stages(stages, stage, first)
    if not len(data.split.valid):
        stages = without_validation(stages, numbers)
    for name, value, whole in (("share", share, 1), ("corrupt", corrupt, 0)):
        if value != whole and not any(part.epochs for part in stages):
            raise InputError(
                f"{name}={value} is for methods that are trained, and nothing of {method} is here; leave it out"
            )
    recipe = {
        "format": FORMAT,
        "method": method,
        "numbers": numbers_to_write(method, numbers),
        "training": {"seed": seed, "mixed_precision": mixed_precision}
        | ({} if stage is None else {"stage": stage})
        | ({} if before is None else {"start": origin(before)})
        | ({} if share == 1 else {"share": float(share)})
        | ({} if not corrupt else {"corrupt": float(corrupt)})
        | ({} if devices == 1 else {"devices": devices}),
        "data": {"fingerprint": data.fingerprint, "users": data.users_fingerprint}
        | ({"path": str(data.path.resolve())} if data.path else {}),
    }
    temporary = tempfile.TemporaryDirectory(prefix="recloom-run-") if out is None else None
    path = Path(out).expanduser() if temporary is None else Path(temporary.name)  # type: ignore[arg-type]
    if (path / WEIGHTS).exists():
        require_same(path, recipe)
        shutil.rmtree(path / WORK, ignore_errors=True)
        return load(path, data, device)
    with begun(path, recipe, catalog):
        trained = fit(stages, data, path / WORK, options, first)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()  # until no process reads what is removed below
    if is_first_process():
        for index in range(first, first + len(stages)):
            history = path / WORK / f"stage-{index}" / "history.csv"
            if history.exists():
                shutil.copy(history, path / f"history-{index}.csv")
        save_weights(trained, path / WEIGHTS)
        shutil.rmtree(path / WORK, ignore_errors=True)
    run = Run(path, trained, catalog, recipe, data)
    run._temporary = temporary
    return run
