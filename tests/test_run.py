"""A run from training to recommendations, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import recloom
from recloom import methods
from recloom.errors import InputError
from recloom.training import evaluate
from recloom.training.evaluate import with_noise

QUICK = {"dim": 16, "length": 12, "epochs": 2, "batch_size": 64, "precision": "fp32"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory, make_cycle_log):
    """The cycle, prepared in a folder, and a run on it."""
    place = tmp_path_factory.mktemp("saved")
    data = recloom.prepare(make_cycle_log(), min_user=0, min_item=0, out=place / "data")
    run = recloom.train("sasrec", place / "data", out=place / "run", progress=False, **QUICK)
    return place, data, run


def test_a_run_reopens_its_own_data(saved):
    place, _, run = saved
    again = recloom.load(place / "run")
    assert again.evaluate().metrics() == run.evaluate().metrics()
    assert again.history.equals(run.history) and again.history.height == 2
    assert not (place / "run" / "training").exists(), "checkpoints go when the run is finished"
    assert again.data() is again.data(), "the data are read once"


def test_users_are_recommended_from_their_whole_history(saved):
    _, data, run = saved
    user = data.user_ids[5]
    history = data.sequences.items[data.sequences.offsets[5] : data.sequences.offsets[6]]
    by_user = run.recommend(users=[user], k=5).frame
    by_history = run.recommend([data.catalog.decode(history)], k=5).frame
    assert by_user["item_id"].to_list() == by_history["item_id"].to_list()
    assert by_user["user_id"].to_list() == [user] * 5
    assert not set(by_user["item_id"]) & set(data.catalog.decode(history))


def test_a_method_that_knows_users_recommends_to_each_their_own(make_cycle_log):
    data = recloom.prepare(make_cycle_log(), min_user=0, min_item=0)
    run = recloom.train("fm", data, progress=False, dim=8, epochs=1)
    first, second = (run.recommend(users=[user], k=3, filter_seen=False).frame for user in data.user_ids[:2])
    assert first["score"].to_list() != second["score"].to_list()
    users = run.method.of_users(torch.tensor([0]))
    best = (users @ run.method.catalogue()[1:-1].t()).max().item()
    assert first["score"][0] == pytest.approx(best, rel=1e-5)
    both = run.recommend(users=data.user_ids[:2], k=3, filter_seen=False).frame
    assert both["score"].to_list() == pytest.approx([*first["score"], *second["score"]])


def test_other_data_is_refused_unless_told(saved, make_cycle_log):
    _, _, run = saved
    other = recloom.prepare(make_cycle_log(seed=1), min_user=0, min_item=0)
    with pytest.raises(InputError, match="fingerprint"):
        run.evaluate(data=other)
    assert run.evaluate(data=other, any_data=True).metrics()["HR@10"] >= 0
    renamed = recloom.prepare(make_cycle_log().with_columns(pl.col("item_id") + 1000), min_user=0, min_item=0)
    with pytest.raises(InputError, match="other items"):
        run.evaluate(data=renamed, any_data=True)
    smaller = recloom.prepare(make_cycle_log(n_items=20), min_user=0, min_item=0)
    with pytest.raises(InputError, match="20"):
        run.evaluate(data=smaller, any_data=True)


def test_a_run_opens_with_no_other_data_than_its_own(saved, make_cycle_log):
    place, data, _ = saved
    assert recloom.load(place / "run", data).data() is data
    other = recloom.prepare(make_cycle_log(n_users=30), min_user=0, min_item=0)
    with pytest.raises(InputError, match="was trained on data with fingerprint"):
        recloom.load(place / "run", other)


def test_a_pre_training_that_diverges_says_so(cycle_with_attributes, tmp_path):
    numbers = {"stage": "pretrain", "pretrain_epochs": 3, "pretrain_windows": "whole", "lr": 1e30, "dim": 8}
    with pytest.raises(InputError, match=r"s3rec: after epoch \d losses or weights are not finite.*lower lr"):
        recloom.train("s3rec", cycle_with_attributes, out=tmp_path / "run", progress=False, **numbers)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_random_items_in_the_histories_read_make_it_worse_and_are_said(make_cycle_log):
    data = recloom.prepare(make_cycle_log(), min_user=0, min_item=0)
    run = recloom.train("sasrec", data, progress=False, **{**QUICK, "epochs": 25, "lr": 5e-3, "dropout": 0.1})
    clean, noisy, again = (run.evaluate(insert_noise=share) for share in (0.0, 0.5, 0.5))
    assert noisy.metrics()["HR@5"] < clean.metrics()["HR@5"] - 0.05
    assert noisy.metrics() == again.metrics() != run.evaluate(insert_noise=0.5, seed=1).metrics()
    assert noisy.history_lengths.tolist() == clean.history_lengths.tolist(), "only what is read changes"
    assert noisy.to_dict()["insert_noise"] == 0.5 and "insert_noise" not in clean.to_dict()
    assert "50% random items" in repr(noisy)
    with pytest.raises(InputError, match=r"insert_noise=1\.5"):
        run.evaluate(insert_noise=1.5)


def test_noise_is_the_asked_share_and_the_latest_items_stay():
    items = torch.arange(1, 7).repeat(4000, 1)
    found = with_noise(items, 0.25, 50, 1000, torch.Generator().manual_seed(0))
    assert ((found != 0).sum(1) - 6).double().mean().item() == pytest.approx(1.5, abs=0.05)
    kept = found.masked_fill(found > 6, 0)
    assert ((kept != 0).sum(1) >= 6).all() and (found[:, 0] > 6).double().mean() > 0.15
    ends = found.gather(1, (found != 0).sum(1, keepdim=True) - 1)
    assert (ends > 6).double().mean().item() == pytest.approx(1 / 2 * (1 / 7 + 2 / 8), abs=0.02)
    short = with_noise(items, 0.25, 4, 1000, torch.Generator().manual_seed(0))
    assert short.shape == (4000, 4) and torch.equal(short[:, -1:], ends)


@pytest.mark.parametrize("seed", [-1, 1.5])
def test_a_seed_is_a_whole_number_from_zero(saved, tmp_path, seed):
    with pytest.raises(InputError, match="at least 0"):
        recloom.train("sasrec", saved[1], out=tmp_path / "run", seed=seed, progress=False, **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_folder_keeps_one_recipe(saved):
    place, data, _ = saved
    written = (place / "run" / "model.safetensors").stat().st_mtime_ns
    recloom.train("sasrec", data, out=place / "run", progress=False, **QUICK)
    assert (place / "run" / "model.safetensors").stat().st_mtime_ns == written, "loaded, not trained again"
    for change in ({"dim": 8}, {"seed": 2}):
        with pytest.raises(InputError, match="another recipe"):
            recloom.train("sasrec", data, out=place / "run", progress=False, **{**QUICK, **change})


def test_a_run_from_before_an_argument_came_goes_on_with_its_default(tmp_path, saved):
    _, data, run = saved
    copy = run.save(tmp_path / "copy")
    text = (copy / "recipe.toml").read_text()
    (copy / "recipe.toml").write_text("".join(line for line in text.splitlines(True) if "averaging" not in line))
    assert (copy / "recipe.toml").read_text() != text
    recloom.train("sasrec", data, out=copy, progress=False, **QUICK)
    with pytest.raises(InputError, match=r"averaging=0\.0 there, 0\.5 asked for"):
        recloom.train("sasrec", data, out=copy, progress=False, averaging=0.5, **QUICK)


def test_what_is_no_run_is_said(tmp_path, saved):
    with pytest.raises(InputError, match=r"recipe\.toml"):
        recloom.load(tmp_path)
    _, _, run = saved
    copy = run.save(tmp_path / "copy")
    (copy / "recipe.toml").write_text("method = [")
    with pytest.raises(InputError, match="TOML"):
        recloom.load(copy)
    copy = run.save(tmp_path / "copy")
    (copy / "recipe.toml").write_text((copy / "recipe.toml").read_text().replace("dim = 16", "dim = 32"))
    with pytest.raises(InputError, match="does not fit"):
        recloom.load(copy)


def test_arguments_are_checked_before_anything_is_written(saved, tmp_path):
    _, data, _ = saved
    for wrong, message in (
        ({"dims": 3}, "did you mean 'dim'"),
        ({"epochs": -1}, "epochs"),
        ({"device": "tpu"}, "device"),
        ({"devices": 2}, "out="),
    ):
        with pytest.raises(InputError, match=message):
            recloom.train("sasrec", data, progress=False, **{**QUICK, **wrong})
    with pytest.raises(InputError, match="did you mean 'sasrec'"):
        recloom.train("sasrek", data)
    with pytest.raises(InputError, match="either histories or users"):
        recloom.load(saved[0] / "run").recommend()


def test_a_time_split_trains_and_evaluates(make_cycle_log):
    log = make_cycle_log().with_columns(timestamp=pl.col("timestamp") * 1000 + pl.col("user_id"))
    data = recloom.prepare(log, min_user=0, min_item=0, split="time", valid_at=0.7, test_at=0.85)
    run = recloom.train("sasrec", data, progress=False, **{**QUICK, "epochs": 12, "lr": 5e-3, "dropout": 0.1})
    assert run.evaluate(protocol="full-open").metrics()["HR@10"] > 0.8


def test_tensorboard_logs_are_written(saved, tmp_path):
    pytest.importorskip("tensorboard")
    _, data, _ = saved
    from recloom.methods import build
    from recloom.training import TrainOptions, fit

    fit(build("sasrec", data.catalog, **QUICK), data, tmp_path, TrainOptions(progress=False, tensorboard=True))
    assert list(tmp_path.rglob("events.out.tfevents*"))


TRAIN = """
import json, sys, recloom, torch
torch.set_num_threads(int(sys.argv[4]))
recloom.train("sasrec", sys.argv[1], out=sys.argv[2], progress=False, **json.loads(sys.argv[3]))
"""


def test_a_run_killed_at_any_moment_ends_at_the_same_numbers(saved, tmp_path):
    place, _, _ = saved
    numbers = {**QUICK, "epochs": 12}
    threads = str(torch.get_num_threads())  # sums are taken in the order of the threads
    command = [sys.executable, "-c", TRAIN, str(place / "data"), str(tmp_path / "killed"), json.dumps(numbers), threads]
    child = subprocess.Popen(command)
    last = tmp_path / "killed" / "training" / "stage-0" / "last.ckpt"
    until = time.monotonic() + 120
    while not last.exists() and child.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it must not have finished before the kill"
    resumed = recloom.train("sasrec", place / "data", out=tmp_path / "killed", progress=False, **numbers)
    straight = recloom.train("sasrec", place / "data", progress=False, **numbers)
    for name, value in straight.method.state_dict().items():
        assert torch.equal(value, resumed.method.state_dict()[name]), name


@pytest.mark.parametrize(("told", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_training_told_to_stop_says_that_it_has_not_finished(saved, tmp_path, told, code):
    place, _, _ = saved
    numbers = [f"{key}={value}" for key, value in {**QUICK, "epochs": 400}.items()]
    command = [sys.executable, "-m", "recloom", "train", "sasrec", str(place / "data"), "-o", str(tmp_path / "run")]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs are deaf to it
    child = subprocess.Popen([*command, "--no-progress", *numbers], stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    last, until = tmp_path / "run" / "training" / "stage-0" / "last.ckpt", time.monotonic() + 120
    while not last.exists() and child.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    child.send_signal(told)
    _, said = child.communicate()
    assert child.returncode == code and "the same command goes on" in said, said[-2000:]
    assert last.exists() and not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("method", "more"),
    [("sasrec", {}), ("mclrec", {"windows": "whole"}), ("mminforec", {"items": "id"})],
    ids=["sasrec", "mclrec, by hand", "mminforec, not all of it used"],
)
def test_two_processes_train_one_model(saved, tmp_path, method, more):
    place, _, _ = saved
    numbers = {**QUICK, "epochs": 3, "lr": 5e-3, "dropout": 0.1, **more}
    numbers = {key: value for key, value in numbers.items() if key in methods.arguments(method)}
    script = tmp_path / "train.py"
    text = TRAIN.replace("progress=False", "progress=False, device='cpu', devices=2")
    script.write_text(text.replace('"sasrec"', f'"{method}"'))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(recloom.__file__).parents[1])}
    command = [sys.executable, str(script), str(place / "data"), str(tmp_path / "run"), json.dumps(numbers), "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    run = recloom.load(tmp_path / "run")
    assert run.history.height == 3
    assert run.history["loss/total"].is_finite().all()
    assert method != "sasrec" or run.history["loss/total"][-1] < run.history["loss/total"][0]


@pytest.mark.parametrize("numbers", [{"share": 1e-9}, {"heads": 3}, {"lr": 1e30, "epochs": 1}])
def test_a_training_that_fails_leaves_nothing_in_the_way(saved, tmp_path, numbers):
    _, data, _ = saved
    with pytest.raises(InputError):
        recloom.train("sasrec", data, out=tmp_path / "run", progress=False, **QUICK | numbers)
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError):
        recloom.train("sasrec", data, out=tmp_path / "mine", progress=False, **QUICK | numbers)
    assert not list((tmp_path / "mine").iterdir()), "the folder stays, as it was there before"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", b"", "damaged"),
        ("model.safetensors", b"half of it", "damaged"),
        ("recipe.toml", b"format = 1\n", "no method, numbers, training, data"),
        ("recipe.toml", b"\xff\xfe", "not readable"),
    ],
)
def test_a_damaged_file_is_named(saved, tmp_path, file, content, message):
    _, data, run = saved
    folder = run.save(tmp_path / "copy")
    (folder / file).write_bytes(content)
    for use in (
        lambda: recloom.load(folder),
        lambda: recloom.train("sasrec", data, out=folder, progress=False, **QUICK),
    ):
        with pytest.raises(InputError, match=f"{file}.*{message}"):
            use()


def test_a_damaged_checkpoint_is_named(saved, tmp_path):
    _, data, run = saved
    stage = tmp_path / "run" / "training" / "stage-0"
    stage.mkdir(parents=True)
    (stage / "last.ckpt").write_bytes(b"")
    (tmp_path / "run" / "recipe.toml").write_text((run.path / "recipe.toml").read_text())
    with pytest.raises(InputError, match=r"last\.ckpt is damaged; delete it"):
        recloom.train("sasrec", data, out=tmp_path / "run", progress=False, **QUICK)


def test_a_run_is_saved_over_nothing_but_a_run(saved, tmp_path):
    _, _, run = saved
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("mine")
    for taken in (tmp_path / "letters", tmp_path / "letters" / "one.txt"):
        with pytest.raises(InputError, match="something else than a run"):
            run.save(taken)
    (tmp_path / "letters" / "recipe.toml").write_text('title = "soup"')
    with pytest.raises(InputError, match="something else than a run"):
        run.save(tmp_path / "letters")
    assert (tmp_path / "letters" / "one.txt").read_text() == "mine"
    assert run.save(run.save(tmp_path / "run")) == tmp_path / "run"


def test_a_tilde_is_the_home_folder(saved, tmp_path, monkeypatch):
    _, data, _ = saved
    monkeypatch.setenv("HOME", str(tmp_path))
    data.save("~/data")
    recloom.train("pop", "~/data", out="~/run", progress=False)
    assert recloom.load("~/run").save("~/copy") == tmp_path / "copy"


def test_counts_are_of_what_is_trained_on(saved):
    _, data, _ = saved
    few = recloom.train("pop", data, progress=False)
    assert (few.catalog.train_counts == data.catalog.train_counts).all()
    run = recloom.train("sasrec", data, progress=False, share=0.02, corrupt=0.0, **QUICK)
    counts = run.catalog.train_counts
    assert 0 < counts.sum() < 0.1 * data.catalog.train_counts.sum() and (counts <= data.catalog.train_counts).all()


def test_one_user_is_no_list_of_users(saved):
    _, _, run = saved
    with pytest.raises(InputError, match=r"users is one str; give a list of ids, such as \['42'\]"):
        run.recommend(users="42")


def test_a_log_is_no_prepared_data(saved, tmp_path, make_cycle_log):
    with pytest.raises(InputError, match=r"DataFrame; recloom\.prepare"):
        recloom.train("pop", make_cycle_log())
    make_cycle_log().write_csv(tmp_path / "log.csv")
    with pytest.raises(InputError, match="is a file, no prepared data; `recloom prepare"):
        recloom.train("pop", tmp_path / "log.csv")


def test_none_can_be_written_where_an_argument_may_be_none(saved, tmp_path):
    _, data, _ = saved
    numbers = {**QUICK, "batch_size": None, "attention_dropout": "none", "dim": np.int64(8)}
    run = recloom.train("sasrec", data, out=tmp_path / "run", progress=False, **numbers)
    again = recloom.train("sasrec", data, out=tmp_path / "run", progress=False, **numbers)
    for one in (run, again, recloom.load(tmp_path / "run")):
        assert one.method.backbone.encoder.blocks[0].attention.dropout == 0.5
        assert one.recipe["numbers"]["batch_size"] == "none" and one.recipe["numbers"]["dim"] == 8
    with pytest.raises(InputError, match="batch_size='none' there, 256 asked for"):
        recloom.train("sasrec", data, out=tmp_path / "run", progress=False, **{**numbers, "batch_size": 256})


@pytest.mark.parametrize(
    "numbers",
    [
        *({"lr": float("nan")}, {"weight_decay": float("inf")}, {"inner": "foo"}, {"inner": 0}, {"lr": None}),
        *({"loss": "gbce", "calibration": 5.0}, {"devices": 0}, {"seed": 2**40}),
    ],
)
def test_impossible_numbers_are_refused_before_training(saved, tmp_path, numbers):
    _, data, _ = saved
    with pytest.raises(InputError, match=list(numbers)[-1]):
        recloom.train("sasrec", data, out=tmp_path / "run", progress=False, **QUICK | numbers)
    assert not (tmp_path / "run").exists()


def test_files_of_others_are_left_alone(saved, tmp_path):
    _, data, _ = saved
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="not a run"):
        recloom.train("sasrec", data, out=tmp_path, progress=False, **QUICK)
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


def test_a_run_says_where_it_was_trained_and_keeps_the_commits_of_all_its_processes(monkeypatch):
    from recloom import environment

    monkeypatch.setattr(environment, "code_version", lambda: {"commit": "abc", "dirty": False})
    first = environment.environment()
    assert first["commits"] == ["abc"] and first["versions"]["torch"] and first["hardware"]["cores"]
    assert environment.environment(first) == first
    monkeypatch.setattr(environment, "code_version", lambda: {"commit": "def", "dirty": True})
    assert environment.environment(first)["commits"] == ["abc", "def*"]
    monkeypatch.setattr(environment, "code_version", lambda: {"commit": None, "dirty": None})
    assert "commits" not in environment.environment()


def test_users_of_other_data_are_new_unless_all_ids_are_the_same(make_cycle_log):
    log = make_cycle_log()
    data = recloom.prepare(log, min_user=0, min_item=0)
    run = recloom.train("bpr-mf", data, progress=False, dim=8, length=10, epochs=3)
    turned = recloom.prepare(log.with_columns(-pl.col("user_id")), min_user=0, min_item=0)
    assert turned.fingerprint != data.fingerprint
    found = run.evaluate(data=turned, any_data=True)
    new = evaluate(run.method, turned, known_users=False)
    assert (found.ranks == new.ranks).all() and (evaluate(run.method, turned).ranks != new.ranks).any()
    grown = recloom.prepare(make_cycle_log(seed=1), min_user=0, min_item=0)
    assert grown.fingerprint != data.fingerprint and grown.user_ids.tolist() == data.user_ids.tolist()
    found = run.evaluate(data=grown, any_data=True)
    assert (found.ranks == evaluate(run.method, grown).ranks).all()


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("bpr-mf", {"length": 0}, "length=0: at least 1"),
        ("bpr-mf", {"length": 1}, "length=1: at least 2"),
        ("sasrec", {"length": -3}, "length=-3: at least 1"),
        ("bert4rec", {"heads": 0}, "heads=0"),
        ("hgn", {"dim": -1}, "dim=-1"),
        ("ncf", {"dropout": 1.5}, "dropout=1.5 must be"),
        ("autoint", {"dropout": 1.0}, "dropout=1.0 must be"),
        ("ncf", {"hidden": 4, "layers": 4}, "hidden=4, layers=4"),
        ("sasrec", {"lr": -1.0}, "lr=-1.0"),
        ("bpr-mf", {"regularisation": -1.0}, "regularisation=-1.0"),
        ("s3rec-mip", {"sp_weight": -1.0}, "sp_weight=-1.0"),
        ("gru4recplus", {}, "did you mean 'gru4rec\\+'"),
        ("BPRMF", {}, "did you mean 'bpr-mf'"),
    ],
)
def test_arguments_out_of_range_are_named(cycle, name, numbers, message):
    with pytest.raises(InputError, match=message):
        methods.build(name, cycle.catalog, **numbers)


def test_everything_is_learnt_from_where_nothing_is_held_out(make_cycle_log, tmp_path):
    data = recloom.prepare(make_cycle_log(n_users=40), min_user=0, min_item=0, split="none", out=tmp_path / "data")
    data = recloom.Dataset.load(tmp_path / "data")
    assert data.catalog.train_counts.sum() == 400 and data.describe()["test_users"] == 0
    with pytest.raises(InputError, match="epochs=N"):
        recloom.train("sasrec", data, progress=False, dim=8, length=8)
    with pytest.raises(InputError, match="seen_items=false"):
        recloom.train("loom", data, progress=False, attributes=False, **QUICK)
    run = recloom.train("sasrec", data, progress=False, **QUICK)
    assert run.selected is None and run.history.height == QUICK["epochs"] and "valid/NDCG@10" not in run.history.columns
    assert run.recommend([[100, 101, 102]], k=3).frame.height == 3
    with pytest.raises(InputError, match=r"holds nothing out.*another split"):
        run.evaluate()
    with pytest.raises(InputError, match="holds nothing out"):
        recloom.compare(data, ["pop", "sasrec"], progress=False, epochs=1)
    assert recloom.train("pop", data).recommend([[100]], k=3).frame.height == 3, "methods that count need no epochs"
