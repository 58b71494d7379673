"""What a search of arguments chooses from, and what it tries next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recloom.errors import InputError

RANDOM_TRIALS = 8
"""Trials drawn at random before Optuna's sampler learns from them."""

DRAWS = 100
"""How often Optuna is asked for a setting that has not been tried."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both are. `log`: by their logarithms."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise InputError(f"range {self.low}..{self.high}: it must rise, and begin above 0 where it is logarithmic")


Search = Mapping[str, Range | Sequence[Any]]
"""What is searched, by argument: a range, or a list of values."""


def load_optuna() -> Any:
    """The module, quiet.

    Raises:
        InputError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise InputError("tuning needs Optuna: pip install 'recloom[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def suggest(optuna: Any, search: Search, done: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any] | None:
    """What Optuna would try next; it is told anew each time, so that a stopped search goes on to the same trials.

    Trials that failed are left out, and those outside of what is searched, as the first one may be. None where
    Optuna thinks of nothing that has not been tried.
    """
    kinds = {key: _distribution(optuna, choice) for key, choice in search.items()}
    sampler = optuna.samplers.TPESampler(seed=seed * 100_003 + len(done), n_startup_trials=RANDOM_TRIALS)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in done:
        values = trial["arguments"]
        if trial["score"] is not None and all(_holds(choice, values[key]) for key, choice in search.items()):
            study.add_trial(
                optuna.trial.create_trial(params=dict(values), distributions=kinds, value=float(trial["score"]))
            )
    before = [trial["arguments"] for trial in done]
    for _ in range(DRAWS):
        asked = study.ask(kinds).params
        found = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in asked.items()}
        if found not in before:
            return found
    return None


def _distribution(optuna: Any, choice: Range | Sequence[Any]) -> Any:
    if not isinstance(choice, Range):
        return optuna.distributions.CategoricalDistribution(list(choice))
    whole = isinstance(choice.low, int) and isinstance(choice.high, int)
    kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
    return kind(choice.low, choice.high, log=choice.log)


def _holds(choice: Range | Sequence[Any], value: Any) -> bool:
    if isinstance(choice, Range):
        return value is not None and choice.low <= value <= choice.high
    return value in list(choice)
