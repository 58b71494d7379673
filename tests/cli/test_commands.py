"""The command line from a log to recommendations, on the simulated shop."""

import json
import shlex
import shutil
import subprocess
import sys

import polars as pl
import pytest

import recloom
from recloom.cli import main
from recloom.training.callbacks import Validate

COMMANDS = [
    "prepare", "describe", "train", "evaluate", "recommend", "similar", "export", "compare", "tune", "methods",
    "doctor", "reproduce", "data list", "data get",
]  # fmt: skip
QUICK = ["dim=16", "length=20", "dropout=0.2", "--epochs", "2", "--no-progress"]


@pytest.fixture
def call(capsys):
    """Run a command: (exit code, stdout, stderr)."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.fixture(scope="module")
def shop():
    return recloom.simulate(n_users=200, n_items=60, lengths=(5, 10, 30), seed=3)


@pytest.fixture(scope="module")
def place(tmp_path_factory, shop):
    """A folder with log, items, prepared data and a trained run."""
    folder = tmp_path_factory.mktemp("shop")
    shop.log.write_csv(folder / "log.csv")
    shop.items.write_parquet(folder / "items.parquet")
    for arguments in (
        ["prepare", folder / "log.csv", "-o", folder / "data", "--items", folder / "items.parquet", "--min-item", 2],
        ["train", "sasrec", folder / "data", "-o", folder / "run", *QUICK],
    ):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert not ended.value.code
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(call, command):
    code, out, _ = call(*command.split(), "--help")
    assert code == 0
    assert "Example" in out and f"recloom {command}" in out


def test_bare_recloom_lists_the_commands(call):
    _, out, err = call()
    assert all(name.split()[0] in out + err for name in COMMANDS)


def test_version(call):
    assert call("--version") == (0, f"recloom {recloom.__version__}\n", "")


def test_prepare_prints_what_it_read(call, place, tmp_path):
    code, out, _ = call("prepare", place / "log.csv", "-o", tmp_path / "data", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["users"] == 200
    assert found["fingerprint"] == recloom.Dataset.load(tmp_path / "data").fingerprint


def test_describe(call, place):
    code, out, _ = call("describe", place / "data")
    assert code == 0
    assert "users" in out and "200" in out
    assert json.loads(call("describe", place / "data", "--json")[1])["users"] == 200


def test_columns_and_time_split(call, shop, tmp_path):
    renamed = shop.log.rename({"user_id": "who", "item_id": "what", "timestamp": "when"})
    renamed.write_csv(tmp_path / "log.tsv", separator="\t")
    columns = ["--user", "who", "--item", "what", "--time", "when", "--split", "time", "--valid-at", "0.7"]
    code, _, _ = call("prepare", tmp_path / "log.tsv", "-o", tmp_path / "data", *columns)
    assert code == 0
    assert recloom.Dataset.load(tmp_path / "data").split.name == "time"


def test_train_reads_recipe_and_numbers(call, place, tmp_path):
    (tmp_path / "small.toml").write_text('method = "sasrec"\n[numbers]\ndim = 8\nlength = 10\nepochs = 1\n')
    arguments = [
        "--recipe",
        tmp_path / "small.toml",
        "length=12",
        "--seed",
        "7",
        "--no-progress",
        "--precision",
        "fp32",
    ]
    code, _, err = call("train", "sasrec", place / "data", "-o", tmp_path / "run", *arguments)
    assert code == 0, err
    recipe = recloom.load(tmp_path / "run").recipe
    assert recipe["numbers"]["dim"] == 8 and recipe["numbers"]["length"] == 12 and recipe["numbers"]["epochs"] == 1
    assert recipe["numbers"]["precision"] == "fp32" and recipe["training"]["seed"] == 7


def test_train_one_stage_and_then_the_rest(call, place, tmp_path):
    numbers = ["dim=8", "length=10", "pretrain_windows=whole", "pretrain_epochs=1", "epochs=1", "--no-progress"]
    code, _, err = call("train", "s3rec-mip", place / "data", "-o", tmp_path / "pre", "--stage", "pretrain", *numbers)
    assert code == 0, err
    assert (
        call("train", "s3rec-mip", place / "data", "-o", tmp_path / "run", "--from", tmp_path / "pre", *numbers)[0] == 0
    )
    assert recloom.load(tmp_path / "run").recipe["training"]["start"]["training"]["stage"] == "pretrain"
    code, _, err = call("train", "sasrec", place / "data", "-o", tmp_path / "half", "--share", "1.5", "--no-progress")
    assert code == 2 and "share=1.5" in err


def test_evaluate(call, place):
    code, out, _ = call("evaluate", place / "run", "--protocol", "full-open", "--k", "3,10", "--json")
    found = json.loads(out)
    assert code == 0
    run = recloom.load(place / "run")
    expected = run.evaluate("full-open", (3, 10)).metrics()
    assert found["metrics"] == pytest.approx(expected)
    low, high = found["intervals"]["HR@10"]
    assert low <= expected["HR@10"] <= high
    code, out, _ = call("evaluate", place / "run", "--split", "valid", "--groups")
    assert code == 0
    assert "HR@10" in out and "valid" in out and "history length" in out


def test_noise_in_training_and_at_test_time(call, place, tmp_path):
    code, _, err = call("train", "sasrec", place / "data", "-o", tmp_path / "run", "--corrupt", "0.3", *QUICK)
    assert code == 0, err
    run = recloom.load(tmp_path / "run")
    assert run.recipe["training"]["corrupt"] == 0.3
    assert run.history["loss/total"].to_list() != recloom.load(place / "run").history["loss/total"].to_list()
    code, out, _ = call("evaluate", place / "run", "--insert-noise", "0.5", "--json")
    wanted = recloom.load(place / "run").evaluate(insert_noise=0.5).metrics()
    assert code == 0 and json.loads(out)["metrics"] == pytest.approx(wanted)
    assert "50% random items inserted" in call("evaluate", place / "run", "--insert-noise", "0.5")[1]
    code, _, err = call("train", "sasrec", place / "data", "-o", tmp_path / "no", "--corrupt", "1.5", *QUICK)
    assert code == 2 and "corrupt=1.5" in err and not (tmp_path / "no").exists()


def test_evaluate_by_groups(call, place):
    found = recloom.load(place / "run").evaluate()
    code, out, _ = call("evaluate", place / "run", "--groups", "--json")
    groups = json.loads(out)["groups"]
    assert code == 0
    assert groups == {"length": found.by_length().to_dicts(), "popularity": found.by_popularity().to_dicts()}
    assert "groups" not in json.loads(call("evaluate", place / "run", "--json")[1])
    _, out, _ = call("evaluate", place / "run", "--length-edges", "5,8", "--json")
    groups = json.loads(out)["groups"]["length"]
    assert [row["group"] for row in groups] == ["<5", "5-7", "8+"]
    assert groups == found.by_length((5, 8)).to_dicts()
    code, out, _ = call("evaluate", place / "run", "--length-edges", "5,8")
    assert code == 0 and "5-7" in out
    code, _, err = call("evaluate", place / "run", "--length-edges", "5,x")
    assert code == 2 and "--length-edges '5,x'" in err


def test_recommend_for_a_history(call, place):
    code, out, _ = call("recommend", place / "run", "--history", "1, 2,3", "-k", "4", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    assert not {1, 2, 3} & {row["item_id"] for row in rows}
    assert all(row["title"] for row in rows)


def test_recommend_for_a_user_with_lists(call, place, tmp_path):
    allowed, denied = tmp_path / "allow.txt", tmp_path / "deny.csv"
    allowed.write_text("\n".join(map(str, range(1, 21))))
    denied.write_text("item_id\n5\n6\n")
    options = ["--allow", allowed, "--deny", denied, "--keep-seen", "-k", "50", "--json"]
    code, out, _ = call("recommend", place / "run", "--user", "7", *options)
    rows = json.loads(out)
    assert code == 0
    assert {row["user_id"] for row in rows} == {7}
    assert {row["item_id"] for row in rows} <= set(range(1, 21)) - {5, 6}


def test_recommend_for_everybody(call, place, tmp_path):
    options = ["--all", "-o", tmp_path / "next.parquet", "-k", "3"]
    code, _, _ = call("recommend", place / "run", *options)
    frame = pl.read_parquet(tmp_path / "next.parquet")
    assert code == 0
    assert frame.columns == ["user_id", "item_id", "score", "rank"]
    assert frame.height == 600 and frame["user_id"].n_unique() == 200
    code, out, _ = call("recommend", place / "run", *options, "--json")
    assert code == 0 and json.loads(out) == {"file": str(tmp_path / "next.parquet"), "rows": 600, "users": 200}


def test_a_run_finds_its_people_where_its_data_have_gone(call, place, tmp_path):
    shutil.copytree(place / "data", tmp_path / "moved")
    recipe, run = place / "run" / "recipe.toml", tmp_path / "run"
    shutil.copytree(place / "run", run)
    run.joinpath("recipe.toml").write_text(recipe.read_text().replace(str(place / "data"), str(tmp_path / "gone")))
    asked = ["recommend", run, "--user", "7", "--json"]
    assert call(*asked)[0] == 2
    code, out, _ = call(*asked, "--data", tmp_path / "moved")
    assert code == 0 and out == call("recommend", place / "run", "--user", "7", "--json")[1]
    code, _, err = call("recommend", run, "--history", "1", "--data", tmp_path / "moved")
    assert code == 2 and "--history needs none" in err


def test_similar(call, place):
    code, out, _ = call("similar", place / "run", "5", "-k", "3", "--json")
    rows = json.loads(out)
    assert code == 0
    assert len(rows) == 3 and 5 not in {row["item_id"] for row in rows}


def test_compare(call, place):
    options = ["--methods", "pop,repeat-recent,sasrec", "--seeds", "2", "--epochs", "1", "sasrec.dim=8"]
    code, out, err = call("compare", place / "data", *options, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert {row["method"] for row in found["leaderboard"]} == {"pop", "repeat-recent", "sasrec"}
    assert all("p_holm" in row for row in found["tests"])
    code, out, _ = call("compare", place / "data", "--methods", "pop,repeat-recent", "--seeds", "1")
    assert code == 0
    assert "pop" in out and "NDCG@10" in out


def test_compare_keeps_its_tables_beside_the_runs_and_goes_on_where_it_stopped(call, place, tmp_path):
    options = ["--seeds", "1", "--epochs", "1", "sasrec.dim=8", "-o", tmp_path / "out"]
    assert call("compare", place / "data", "--methods", "pop,sasrec", *options)[0] == 0
    found = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert {row["method"] for row in found["leaderboard"]} == {"pop", "sasrec"} and found["baselines"] == ["pop"]
    table = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "| sasrec |" in table and "full-mask" in table and "parameters" in table
    assert {row["method"]: row["selected_by"] for row in found["leaderboard"]} == {
        "pop": "",
        "sasrec": "NDCG@10 full-mask",
    }
    assert {row["method"]: (row["epochs"], row["best_epoch"]) for row in found["leaderboard"]} == {
        "pop": (0, None),
        "sasrec": (1, 1),
    }
    assert columns_of(table, "epochs") == {"pop": ["0"], "sasrec": ["1 (1)"]}
    run = recloom.load(tmp_path / "out" / "sasrec" / "seed-1")
    assert found["recipes"]["sasrec"]["numbers"]["dim"] == 8 and found["data"]["users"] == run.data().n_users
    assert found["recipes"]["sasrec"]["environment"] == run.recipe["environment"]
    assert run.recipe["environment"]["hardware"]["processor"] in table and found["data"]["fingerprint"] in table
    weights = tmp_path / "out" / "sasrec" / "seed-1" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    options += ["--tables", tmp_path / "tables" / "all", "--baseline", "sasrec,pop"]
    assert call("compare", place / "data", "--methods", "pop,sasrec,repeat-recent", *options)[0] == 0
    assert weights.stat().st_mtime_ns == written, "a finished run is not trained again"
    wider = (tmp_path / "tables" / "all" / "leaderboard.md").read_text()
    rows = columns_of(wider, "p sasrec", "p pop")
    assert rows["sasrec"][0] == "" == rows["pop"][1] and rows["sasrec"][1] == rows["pop"][0] != ""
    assert "" not in rows["repeat-recent"] and "against sasrec and pop" in wider
    assert (tmp_path / "out" / "leaderboard.md").read_text() == table and found["missing"] == []
    assert call("compare", place / "data", "--methods", "pop,sasrec", "--baseline", "pop,loom")[0] == 2


def test_a_method_that_fails_is_told_and_the_others_are_compared(call, place, tmp_path):
    options = ["--seeds", "1", "--epochs", "1", "dim=8", "sasrec.lr=1e30", "-o", tmp_path / "out"]
    code, out, err = call("compare", place / "data", "--methods", "sasrec,gru4rec,pop", "--baseline", "pop", *options)
    assert code == 1 and "sasrec seed 1: sasrec: " in err, err
    assert "gru4rec" in out and "Not compared, as they failed: sasrec" in err
    found = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert {row["method"] for row in found["leaderboard"]} == {"gru4rec", "pop"} and found["missing"] == []
    assert "lower lr" in found["failed"]["sasrec"]
    assert "Failed: sasrec: " in (tmp_path / "out" / "leaderboard.md").read_text()
    code, _, err = call("compare", place / "data", "--methods", "sasrec", "--epochs", "1", "lr=1e30")
    assert code == 2 and "nothing could be compared; sasrec: " in err


def test_the_metric_that_sorts_is_shown(call, place, tmp_path):
    options = ["--methods", "pop,repeat-recent", "--metric", "MRR", "-o", tmp_path / "out", "--json"]
    assert call("compare", place / "data", *options)[0] == 0
    values = columns_of((tmp_path / "out" / "leaderboard.md").read_text(), "MRR", "interval")
    assert all(float(low.split(" to ")[0]) < float(value) for value, low in values.values())
    code, out, _ = call("compare", place / "data", *options[:-1])
    assert code == 0 and "MRR" in out


def test_a_comparison_s_tables_are_no_file(call, place, tmp_path):
    (tmp_path / "tables").write_text("")
    options = ["--methods", "pop,sasrec", "--tables", tmp_path / "tables", "-o", tmp_path / "out"]
    code, _, err = call("compare", place / "data", *options)
    assert code == 2 and "tables is a file" in err and not (tmp_path / "out").exists()


def columns_of(table, *names):
    """Cells of a Markdown table below some of its heads, by the first cell of the row."""
    heads, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "|" in line]
    places = [heads.index(name) for name in names]
    return {row[0]: [row[place] for place in places] for row in rows}


def test_the_best_epoch_is_counted_over_all_stages(place, tmp_path):
    numbers = {"pretrain_epochs": 2, "epochs": 3, "dim": 8, "length": 10, "layers": 1}
    found = recloom.compare(place / "data", ["s3rec-mip"], seeds=1, out=tmp_path, progress=False, **numbers)
    row = found.leaderboard.row(0, named=True)
    history = recloom.load(tmp_path / "s3rec-mip" / "seed-1").history
    assert row["epochs"] == 5 and row["best_epoch"] == history["valid/NDCG@10"].fill_null(-1).arg_max() + 1 > 2


def test_a_comparison_that_was_killed_goes_on_with_the_epoch_it_was_in(place, tmp_path, monkeypatch):
    numbers = {"seeds": 1, "epochs": 3, "progress": False, "numbers": {"sasrec": {"dim": 8}, "fpmc": {"dim": 8}}}
    begun, kept = [], Validate.on_train_epoch_start

    def watched(self, trainer, module):
        begun.append((type(module).__name__, trainer.current_epoch))
        kept(self, trainer, module)
        if begun[-1] == ("NextItemPrediction", 2) and len(begun) == 6:
            raise RuntimeError("power cut")

    monkeypatch.setattr(Validate, "on_train_epoch_start", watched)
    with pytest.raises(RuntimeError, match="power cut"):
        recloom.compare(place / "data", ["fpmc", "sasrec"], out=tmp_path / "killed", **numbers)
    killed = recloom.compare(place / "data", ["fpmc", "sasrec"], out=tmp_path / "killed", **numbers)
    names = ["FPMC"] * 3 + ["NextItemPrediction"] * 4
    assert begun == list(zip(names, [0, 1, 2, 0, 1, 2, 2], strict=True))
    straight = recloom.compare(place / "data", ["fpmc", "sasrec"], out=tmp_path / "straight", **numbers)
    columns = ["method", "NDCG@10", "HR@10", "parameters"]
    assert killed.leaderboard.select(columns).equals(straight.leaderboard.select(columns))


def test_a_comparison_under_way_says_what_is_to_come(place, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        names = ["pop", "repeat-recent", "sasrec"]
        recloom.compare(place / "data", names, seeds=1, tables=tmp_path, progress=False, say=Stop(2))
    table = (tmp_path / "leaderboard.md").read_text()
    assert "| pop |" in table and "corrections: repeat-recent, sasrec." in table


class Stop:
    """A listener who leaves at a line."""

    def __init__(self, line):
        self.left = line

    def __call__(self, text):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_an_argument_is_given_once(call, place, tmp_path):
    code, _, err = call("train", "sasrec", place / "data", "-o", tmp_path / "run", "--epochs", "2", "epochs=3")
    assert code == 2 and "epochs is given twice: --epochs 2 and epochs=3" in " ".join(err.split())
    for command in (("train", "sasrec", place / "data", "-o", tmp_path / "run"), ("tune", "sasrec", place / "data")):
        more = ["--search", "dim=4,8"] if command[0] == "tune" else []
        code, _, err = call(*command, *more, "seed=3")
        assert code == 2 and "seed=... is no argument of a method" in " ".join(err.split())
    code, _, err = call("compare", place / "data", "--methods", "pop,sasrec", "seeds=2")
    assert code == 2 and "seeds=... is no argument of a method" in " ".join(err.split())
    code, _, err = call("compare", place / "data", "--methods", "pop,sasrec", "--epochs", "2", "epochs=3")
    assert code == 2 and "epochs is given twice" in err


def test_compare_varies_an_argument(call, place, tmp_path):
    options = ["--vary", "sasrec.dim=4,8", "--seeds", "1", "--epochs", "1", "-o", tmp_path / "out", "--json"]
    code, out, err = call("compare", place / "data", "--methods", "sasrec,pop", "sasrec.length=10", *options)
    assert code == 0, err
    rows = {row["method"]: row for row in json.loads(out)["leaderboard"]}
    assert set(rows) == {"sasrec dim=4", "sasrec dim=8", "pop"} and json.loads(out)["baselines"] == ["sasrec dim=4"]
    assert rows["sasrec dim=4"]["parameters"] < rows["sasrec dim=8"]["parameters"]
    kept = recloom.load(tmp_path / "out" / "sasrec-dim=4" / "seed-1").recipe["numbers"]
    assert kept["dim"] == 4 and kept["length"] == 10
    found = json.loads(out)
    name, verb, data, *same = shlex.split(found["command"])
    assert [name, verb, data] == ["recloom", "compare", "DATA"]
    code, out, err = call("compare", place / "data", *same, "-o", tmp_path / "out", "--json")
    assert code == 0, err
    assert json.loads(out) == found, "the runs in the folder are those of the command"
    assert f"Command: `{found['command']}`" in (tmp_path / "out" / "leaderboard.md").read_text()


def test_tune_and_train_with_the_best(call, place, tmp_path):
    pytest.importorskip("optuna")
    fixed = ["dim=8", "length=10", "epochs=1", "--no-progress"]
    search = ["--search", "dropout=0.1..0.3", "--search", "heads=1,2", "--trials", "2", "-o", tmp_path / "tune"]
    code, out, err = call("tune", "sasrec", place / "data", *fixed, *search)
    assert code == 0, err
    assert "trial 1: dropout=0." in err and "best.toml" in out and "score" in out
    recipe = ["--recipe", tmp_path / "tune" / "best.toml", "-o", tmp_path / "best", "--no-progress"]
    assert call("train", "sasrec", place / "data", *recipe)[0] == 0
    code, out, _ = call("tune", "sasrec", place / "data", *fixed, *search, "--json")
    found = json.loads(out)
    assert code == 0 and len(found["trials"]) == 2
    kept = recloom.load(tmp_path / "best").recipe["numbers"]
    assert {key: kept[key] for key in ("dropout", "heads")} == {key: found["best"][key] for key in ("dropout", "heads")}


@pytest.mark.parametrize(("metric", "protocol"), [("Recall@10", "full-mask"), ("popularity@10", "sample-99")])
def test_compare_knows_a_metric_that_nothing_will_have(place, metric, protocol, tmp_path):
    with pytest.raises(recloom.InputError, match="NDCG@10"):
        recloom.compare(place / "data", ["pop", "sasrec"], metric=metric, protocol=protocol, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_compare_knows_a_catalogue_too_small_for_a_protocol_before_it_trains(make_cycle_log, tmp_path):
    data = recloom.prepare(make_cycle_log(), min_user=0, min_item=0)
    with pytest.raises(recloom.InputError, match="needs 99 items"):
        recloom.compare(data, ["pop", "sasrec"], protocol="sample-99", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_compare_knows_a_wrong_argument_before_it_trains(place, tmp_path):
    with pytest.raises(recloom.InputError, match="dimm"):
        recloom.compare(place / "data", ["pop", "sasrec"], numbers={"sasrec": {"dimm": 3}}, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_compare_says_which_method_cannot_use_an_argument_given_to_all(call, place, tmp_path):
    arguments = ["compare", place / "data", "--methods", "pop,sasrec,dssrec", "loss=bce", "-o", tmp_path / "out"]
    code, _, err = call(*arguments)
    assert code == 2 and "dssrec: loss='bce' has no effect" in err and "dssrec.ARGUMENT=VALUE" in err
    assert not (tmp_path / "out").exists()
    code, out, err = call(*arguments, "dssrec.loss=softmax", "epochs=1", "dim=8", "length=10", "--seeds", 1)
    assert code == 0 and "dssrec" in out, err


def test_all_methods_are_those_the_data_allow(cycle, cycle_with_attributes):
    from recloom import methods
    from recloom.comparison import fitting

    assert fitting(cycle_with_attributes) == list(methods.METHODS)
    assert set(methods.METHODS) - set(fitting(cycle)) == {"gru4rec-f", "sasrec-f", "fdsa", "s3rec", "mminforec"}


def test_methods(call):
    assert "Kang and McAuley" in call("methods")[1]
    assert {row["name"] for row in json.loads(call("methods", "--json")[1])} >= {"pop", "repeat-recent", "sasrec"}
    assert json.loads(call("methods", "sasrec", "--json")[1])["dim"] == 64


def test_doctor(call, monkeypatch):
    monkeypatch.setenv("RECLOOM_DATA", "somewhere")
    found = json.loads(call("doctor", "--json")[1])
    assert found["RECLOOM_DATA"] == "somewhere" and found["torch"] and found["cores"] >= 1
    assert "cache" in call("doctor")[1]


def test_public_data(call, tmp_path):
    assert "ml-100k" in call("data", "list")[1]
    code, out, err = call("data", "get", "simulated", "-o", tmp_path / "data", "--json")
    assert code == 0
    assert err.count("no terms") == 1
    assert json.loads(out)["users"] == recloom.Dataset.load(tmp_path / "data").n_users


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "{}/absent.csv", "-o", "{}/x"], "absent.csv"),
        (["prepare", "{}/log.csv", "-o", "{}/x", "--user", "who"], "who"),
        (["describe", "{}"], "prepare"),
        (["train", "sasrek", "{}/data", "-o", "{}/x"], "sasrec"),
        (["train", "sasrec", "{}/data", "-o", "{}/x", "dimm=3"], "dim"),
        (["train", "sasrec", "{}/data", "-o", "{}/x", "dim"], "key=value"),
        (["train", "sasrec", "{}/data", "-o", "{}/x", "--device", "tpu"], "device"),
        (["train", "sasrec", "{}/data", "-o", "{}/x", "--recipe", "{}/no.toml"], "no.toml"),
        (["train", "pop", "{}/data", "-o", "{}/run"], "recipe"),
        (["evaluate", "{}/absent"], "absent"),
        (["evaluate", "{}/run", "--protocol", "half"], "full-mask"),
        (["evaluate", "{}/run", "--split", "train"], "valid"),
        (["evaluate", "{}/run", "--k", "0"], "--k"),
        (["recommend", "{}/run"], "--history"),
        (["recommend", "{}/run", "--history", "1", "--user", "2"], "--history"),
        (["recommend", "{}/run", "--all"], "-o"),
        (["recommend", "{}/run", "--user", "nobody"], "nobody"),
        (["recommend", "{}/run", "--history", "1", "--deny", "{}/no.txt"], "no.txt"),
        (["recommend", "{}/run", "--history", "1", "--deny", "{}/no.json"], "no.json"),
        (["recommend", "{}/run", "--history", "1", "-o", "{}/x"], "ends in .parquet"),
        (["train", "pop", "{}/data", "-o", "{}/log.csv/x"], "log.csv"),
        (["train", "pop", "{}/log.csv", "-o", "{}/x"], "recloom prepare"),
        (["similar", "{}/run", "nothing"], "nothing"),
        (["compare", "{}/data", "--methods", ""], "--methods"),
        (["tune", "sasrec", "{}/data", "--search", "dropout"], "dropout=0.1..0.6"),
        (["tune", "sasrec", "{}/data", "--search", "dropout=a..b"], "ends of a range"),
        (["tune", "sasrec", "{}/data", "--search", "dim=8", "--search", "dim=4"], "twice"),
        (["tune", "sasrec", "{}/data"], "nothing is searched"),
        (["compare", "{}/data", "--methods", "pop,nope"], "nope"),
        (["compare", "{}/data", "--methods", "pop", "--vary", "dim"], "sasrec.dim=32,64"),
        (["compare", "{}/data", "--methods", "pop", "--vary", "sasrec.dim=8"], "not among the methods pop"),
        (["compare", "{}/data", "--methods", "sasrec", "--vary", "sasrec.dimm=8"], "dimm"),
        (["compare", "{}/data", "--methods", "sasrec", "--vary", "sasrec.dim="], "no value"),
        (["compare", "{}/data", "--methods", "sasrec", "--vary", "sasrec.dim=8", "--vary", "sasrec.dim=4"], "twice"),
        (["methods", "nope"], "nope"),
        (["data", "get", "nope", "-o", "{}/x"], "nope"),
        (["reproduce", "{}/no.toml", "--data", "{}"], "no.toml"),
        (["train", "sasrec"], "data"),
        (["no-such-command"], "no-such-command"),
    ],
)
def test_bad_input_is_exit_2_and_one_message(call, place, arguments, message):
    code, out, err = call(*(argument.replace("{}", str(place)) for argument in arguments))
    assert code == 2
    assert message in err
    assert not out and "Traceback" not in err
    assert not (place / "x").exists()


def test_every_user_s_rank_is_written_by_id(call, place, shop, tmp_path):
    code, out, _ = call("evaluate", place / "run", "--per-user", tmp_path / "ranks.parquet", "--json")
    table, found = pl.read_parquet(tmp_path / "ranks.parquet"), json.loads(out)
    assert code == 0 and table.height == found["users"] and table["HR@10"].mean() == found["metrics"]["HR@10"]
    last = shop.log.sort("timestamp").group_by("user_id", maintain_order=True).last()
    joined = table.with_columns(pl.col("user_id").cast(last["user_id"].dtype)).join(last, on="user_id")
    assert (joined["item_id"] == joined["item_id_right"].cast(joined["item_id"].dtype)).all()
    code, _, err = call("evaluate", place / "run", "--per-user", tmp_path / "ranks.csv")
    assert code == 2 and "ends in .parquet" in err


def test_without_ten_among_the_cut_offs_the_largest_is_compared(call, place):
    code, out, _ = call("compare", place / "data", "--methods", "pop,repeat-recent", "-k", "3,5", "--json")
    assert code == 0 and json.loads(out)["metric"] == "NDCG@5"


def test_files_of_ids_may_begin_with_a_byte_order_mark(call, place, tmp_path):
    arguments = ["recommend", place / "run", "--history", "1", "-k", "1", "--json"]
    (first,) = json.loads(call(*arguments)[1])
    for encoding, wanted in (("utf-8-sig", 0), ("utf-16", 2)):
        (tmp_path / "deny.txt").write_text(f"{first['item_id']}\n", encoding)
        code, out, err = call(*arguments, "--deny", tmp_path / "deny.txt")
        assert code == wanted and (code == 0 or "not readable as UTF-8" in err)
        assert code or json.loads(out)[0]["item_id"] != first["item_id"]


def test_other_errors_keep_their_traceback(monkeypatch):
    import recloom.methods

    def broken():
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(recloom.methods, "describe", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main(["methods"])


def test_python_m_recloom():
    done = subprocess.run([sys.executable, "-m", "recloom", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"recloom {recloom.__version__}\n"


def test_methods_explains_one(call):
    code, out, _ = call("methods", "s3rec")
    assert code == 0 and "Departures" in out and "pretrain_windows" in out and "segment_loss" in out
    assert "  200  " in next(line for line in out.splitlines() if line.startswith("epochs "))
    assert next(line for line in out.splitlines() if line.startswith("mip_weight ")).endswith("masked item prediction.")
    assert "Args:" not in out


def test_an_artifact_recommends_as_its_run(call, place, shop, tmp_path):
    folder, ids = tmp_path / "artifact", [str(item) for item in shop.items["item_id"].head(3)]
    code, _, err = call("export", place / "run", "-o", folder)
    assert code == 0 and "MB" in err
    asked = ["--history", ",".join(ids), "-k", "3", "--json"]
    found, wanted = (json.loads(call("recommend", source, *asked)[1]) for source in (folder, place / "run"))
    assert [row["item_id"] for row in found] == [row["item_id"] for row in wanted]
    assert call("similar", folder, ids[0], "-k", "3")[1] == call("similar", place / "run", ids[0], "-k", "3")[1]
    for arguments, message in (
        (["recommend", folder, "--user", "1"], "is an artifact, which holds no users; give --history"),
        (["recommend", folder, "--device", "cuda", "--history", ids[0]], "an artifact recommends on the CPU"),
        (["evaluate", folder], "is an artifact, which only recommends"),
    ):
        code, _, err = call(*arguments)
        assert code == 2 and message in err
