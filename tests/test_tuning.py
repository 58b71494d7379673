"""The search for arguments: what it tries, what it keeps, how it goes on, and what it refuses."""

import json
import tomllib

import pytest

import recloom
from recloom import Range, search_space, tuning
from recloom.errors import InputError
from recloom.search_space import load_optuna, suggest

pytest.importorskip("optuna")

SMALL = {"dim": 8, "length": 10, "epochs": 2, "progress": False}
SEARCH = {"dropout": Range(0.0, 0.6), "lr": Range(1e-4, 1e-1, log=True), "layers": Range(1, 2), "heads": [1, 2]}


def test_trials_are_kept_and_the_best_is_a_recipe(cycle, tmp_path):
    lines = []
    found = recloom.tune("sasrec", cycle, SEARCH, trials=4, out=tmp_path, say=lines.append, **SMALL)
    rows = found.trials.to_dicts()
    assert [row["trial"] for row in rows] == [0, 1, 2, 3] and len(lines) == 4
    assert (rows[0]["dropout"], rows[0]["lr"], rows[0]["layers"], rows[0]["heads"]) == (0.5, 1e-3, 2, 2)
    assert rows[0]["score"] == 1
    for row in rows[1:]:
        assert 0 <= row["dropout"] <= 0.6 and 1e-4 <= row["lr"] <= 0.1 and row["layers"] in (1, 2)
        assert row["score"] == pytest.approx(row["data-1"] / rows[0]["data-1"])
    best = max(rows, key=lambda row: row["score"])
    recipe = tomllib.loads((tmp_path / "best.toml").read_text())
    assert recipe["method"] == "sasrec" and recipe["numbers"]["dim"] == 8
    assert {key: recipe["numbers"][key] for key in SEARCH} == {key: best[key] for key in SEARCH}
    numbers = {key: value for key, value in SMALL.items() if key != "progress"} | {key: best[key] for key in SEARCH}
    run = recloom.train("sasrec", cycle, seed=1, progress=False, **numbers)
    assert run.selected["value"] == best["data-1"] == run.history["valid/NDCG@10"].max()
    kept = json.loads((tmp_path / "trials.json").read_text())
    assert kept["data"]["data-1"]["fingerprint"] == cycle.fingerprint and kept["trials"][2]["environment"]["versions"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.toml", "trials.json", "trials.md"]
    assert "NDCG@10 on validation" in (tmp_path / "trials.md").read_text()


def test_a_stopped_search_goes_on_to_the_same_trials(cycle, tmp_path, monkeypatch):
    monkeypatch.setattr(search_space, "RANDOM_TRIALS", 2)
    search = {"dropout": Range(0.0, 0.6)}
    whole = recloom.tune("sasrec", cycle, search, trials=5, **SMALL)
    recloom.tune("sasrec", cycle, search, trials=3, out=tmp_path, **SMALL)
    lines = []
    again = recloom.tune("sasrec", cycle, search, trials=5, out=tmp_path, say=lines.append, **SMALL)
    assert len(lines) == 2, "only the last two are trained"
    assert again.trials.drop("seconds").equals(whole.trials.drop("seconds"))
    with pytest.raises(InputError, match="another search"):
        recloom.tune("sasrec", cycle, {"dropout": Range(0.0, 0.5)}, trials=3, out=tmp_path, **SMALL)


def test_data_sets_count_alike_and_what_does_not_go_together_is_passed_over(cycle, cycle_with_attributes):
    search = {"heads": [2, 3], "dim": [8]}
    numbers = {key: value for key, value in SMALL.items() if key != "dim"}
    found = recloom.tune("sasrec", [cycle, cycle_with_attributes], search, trials=6, **numbers)
    rows = found.trials.to_dicts()
    first = rows[0]
    assert first["dim"] == 64, "the first trial has the default, searched or not"
    failed = [row for row in rows if row["heads"] == 3]
    assert failed and all("heads=3" in row["error"] and row["score"] is None for row in failed)
    for row in rows:
        if row["heads"] == 2:
            shares = [row[name] / first[name] for name in ("data-1", "data-2")]
            assert row["score"] == pytest.approx(sum(shares) / 2)
    assert found.best["heads"] == 2 and "heads=3" in found.markdown()


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"dropout": Range(0.5, 5.0)}, r"dropout=5\.0 must be"),
        ({"layers": Range(1.0, 4.0)}, r"layers=1\.0 should be int"),
        ({"heads": [1, "two"]}, "heads='two' should be int"),
    ],
)
def test_values_of_another_kind_or_range_are_refused_before_the_first_trial(cycle, tmp_path, search, message):
    with pytest.raises(InputError, match=message):
        recloom.tune("sasrec", cycle, search, out=tmp_path / "tune", **SMALL)
    assert not (tmp_path / "tune").exists()


def test_none_as_text_is_none_and_tried_once(cycle):
    found = recloom.tune("sasrec", cycle, {"inner": ["none", 16]}, trials=5, **SMALL)
    assert sorted(found.trials["inner"].to_list(), key=str) == [16, None]


def test_a_search_that_stops_in_its_first_trial_has_taken_its_folder(cycle, tmp_path, monkeypatch):
    def killed(*arguments, **numbers):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(tuning, "train", killed)
        recloom.tune("sasrec", cycle, {"dim": [8, 16]}, trials=2, out=tmp_path, progress=False, epochs=1)
    with pytest.raises(InputError, match="another search"):
        recloom.tune("sasrec", cycle, {"dim": [8, 16]}, trials=2, out=tmp_path, progress=False, epochs=2)
    assert recloom.tune("sasrec", cycle, {"dim": [8, 16]}, trials=1, out=tmp_path, progress=False, epochs=1).best


def test_the_seconds_of_a_trial_are_those_before_a_stop_too(cycle, tmp_path, monkeypatch):
    runs = []

    def train_and_stop(*arguments, **numbers):
        runs.append(recloom.train(*arguments, **numbers))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(tuning, "train", train_and_stop)
        recloom.tune("sasrec", cycle, {"dim": [8, 16]}, trials=1, out=tmp_path, progress=False, epochs=10)
    spent = runs[0].cost["train_seconds"] + runs[0].cost["valid_seconds"]
    found = recloom.tune("sasrec", cycle, {"dim": [8, 16]}, trials=1, out=tmp_path, progress=False, epochs=10)
    assert found.trials["seconds"].item() == round(spent, 1)


def test_a_fault_of_a_program_keeps_its_traceback_and_leaves_no_search(cycle, tmp_path, monkeypatch):
    def broken(*arguments, **numbers):
        raise NotImplementedError("a fault of ours")

    with monkeypatch.context() as patched, pytest.raises(NotImplementedError):
        patched.setattr(tuning, "train", broken)
        recloom.tune("sasrec", cycle, {"dim": [8]}, trials=1, out=tmp_path, progress=False, epochs=1)
    assert not list(tmp_path.iterdir())
    recloom.tune("sasrec", cycle, {"batch_size": ["none", 64]}, trials=2, out=tmp_path, progress=False, epochs=1, dim=8)
    assert tomllib.loads((tmp_path / "best.toml").read_text())["numbers"]["batch_size"] in ("none", 64, 256)


def test_no_setting_is_tried_twice_and_want_of_memory_is_passed_over(cycle, monkeypatch):
    def trained(*arguments, dim=64, **numbers):
        if dim == 16:
            raise RuntimeError("can't allocate memory\nand a trace")
        return recloom.train(*arguments, dim=dim, **numbers)

    monkeypatch.setattr(tuning, "train", trained)
    lines = []
    numbers = {"progress": False, "epochs": 1, "length": 10}
    found = recloom.tune("sasrec", cycle, {"dim": [8, 16, 64]}, trials=9, say=lines.append, **numbers)
    assert (
        sorted(found.trials["dim"]) == [8, 16, 64]
        and lines[-1] == "3 settings have been tried, and 100 draws brought no other"
    )
    assert found.trials.filter(dim=16)["error"].to_list() == ["can't allocate memory"]


@pytest.mark.parametrize(
    ("method", "search", "numbers", "message"),
    [
        ("sasrec", {"dimm": [1]}, {}, "dimm"),
        ("sasrec", {}, {}, "nothing is searched"),
        ("sasrec", {"dim": []}, {}, "no value"),
        ("sasrec", {"dim": [8]}, {"dim": 8}, "both given and searched"),
        ("sasrec", {"dim": [8]}, {"trials": 0}, "trials=0"),
        ("sasrec", {"dim": [8]}, {"heads": 3}, "heads=3"),
        ("mclrec", {"preset": ["paper", "code"]}, {}, "preset cannot be searched"),
        ("pop", {"count": ["all"]}, {}, "nothing to tune"),
        ("sasrec", {"dim": [8]}, {"epochs": 0}, "nothing to tune"),
    ],
)
def test_what_cannot_be_searched_is_refused(cycle, method, search, numbers, message):
    with pytest.raises(InputError, match=message):
        recloom.tune(method, cycle, search, progress=False, **numbers)


def test_a_first_trial_of_no_number_lies_outside_of_a_range():
    optuna = load_optuna()
    done = [{"arguments": {"batch_size": None}, "score": 1.0}]
    assert 64 <= suggest(optuna, {"batch_size": Range(64, 512)}, done, 1)["batch_size"] <= 512


def test_ranges_rise():
    for ends in ((1.0, 1.0), (2, 1)):
        with pytest.raises(InputError, match="rise"):
            Range(*ends)
    with pytest.raises(InputError, match="above 0"):
        Range(0.0, 1.0, log=True)


def test_without_optuna_it_says_what_to_install(cycle, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(InputError, match=r"recloom\[tune\]"):
        tuning.tune("sasrec", cycle, {"dim": [8]})
