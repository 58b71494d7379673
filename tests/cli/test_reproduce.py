"""Result files: what is written, what is skipped, and the table made of them."""

import json

import pytest

import recloom
from recloom import reproduce as module
from recloom.errors import InputError
from recloom.recipes import read_recipes
from recloom.reproduce import reproduce
from recloom.result_pages import COLUMNS, table, table_of_lists, table_of_speed, table_of_variants
from recloom.results import write_tables

SASREC = """method = "sasrec"
protocols = ["full-mask", "full-open"]
seeds = [1, 2]
[numbers]
dim = 8
length = 10
epochs = 1
[published."full-mask"]
source = "a paper"
"HR@10" = 0.2
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "shop").mkdir()
    shop = recloom.simulate(n_users=150, n_items=50, seed=5)
    shop.log.write_parquet(folder / "shop" / "interactions.parquet")
    shop.items.write_parquet(folder / "shop" / "items.parquet")
    return folder


@pytest.fixture
def recipe(tmp_path):
    file = tmp_path / "recipes" / "shop" / "small.toml"
    file.parent.mkdir(parents=True)
    file.write_text(SASREC)
    return file


@pytest.fixture
def go(data, recipe, tmp_path):
    """Run the recipe; returns the result and the lines said."""

    def run(**options):
        lines = []
        places = {"data": data, "out": tmp_path / "results", "work": tmp_path / "work"}
        reproduce([recipe], progress=False, **{"say": lines.append, **places, **options})
        return json.loads((tmp_path / "results" / "shop" / "small.json").read_text()), lines

    return run


def test_a_result_says_how_it_was_made(go, data, recipe, tmp_path):
    result, _ = go()
    assert result["method"] == "sasrec" and result["numbers"]["dim"] == 8 and result["numbers"]["heads"] == 2
    assert result["data"]["users"] == 150
    assert list(result["seeds"]) == ["1", "2"]
    seed = result["seeds"]["1"]
    assert seed["epochs"] == 1 and seed["selected"]["value"] > 0
    assert {**seed["selected"], "value": 0} == {"metric": "NDCG@10", "protocol": "full-mask", "value": 0, "epoch": 0}
    assert set(seed["protocols"]) == {"full-mask", "full-open"}
    assert {"commit", "dirty", "date", "hardware", "versions", "train_seconds", "wall_seconds"} <= set(seed)
    found = seed["protocols"]["full-mask"]
    low, high = found["intervals"]["HR@10"]
    assert low <= found["metrics"]["HR@10"] <= high
    run = recloom.train("sasrec", module.read_data(data, "shop"), seed=1, dim=8, length=10, epochs=1, progress=False)
    evaluation = run.evaluate("full-mask", module.CUTOFFS)
    wanted = {**evaluation.metrics(), "distance@10": evaluation.distance(10)}
    assert found["metrics"] == pytest.approx(wanted)
    assert not list((tmp_path / "work").rglob("*.safetensors"))


def test_seeds_that_are_there_are_skipped_unless_again(go):
    first, _ = go(seeds=[2])
    second, lines = go(seeds=[1, 2])
    assert list(second["seeds"]) == ["1", "2"]
    assert second["seeds"]["2"] == first["seeds"]["2"]
    assert any("seed 2: there already" in line for line in lines)
    third, again = go(seeds=[2], again=True)
    assert any("seed 2: sasrec on" in line for line in again), "it was trained again"
    assert not any("there already" in line for line in again)
    assert third["seeds"]["2"]["protocols"] == first["seeds"]["2"]["protocols"]
    assert third["seeds"]["1"] == second["seeds"]["1"]


def test_a_remark_of_the_recipe_stands_below_the_table(go, recipe, tmp_path):
    before, _ = go(seeds=[1])
    recipe.write_text("remark = 'ours counts them all'\n" + recipe.read_text())
    after, _ = go(seeds=[1])
    assert after["seeds"] == before["seeds"] and after["remark"] == "ours counts them all"
    pages = [file.read_text() for file in tmp_path.rglob("README.md")]
    assert len(pages) == 1 and f"- {recipe.stem}: ours counts them all" in pages[0]


def test_the_page_links_to_comparisons_and_searches(tmp_path):
    (tmp_path / "comparisons" / "shop").mkdir(parents=True)
    (tmp_path / "comparisons" / "shop" / "leaderboard.md").write_text("| method |")
    write_tables(tmp_path)
    assert "- [shop](comparisons/shop/leaderboard.md)\n" in (tmp_path / "README.md").read_text()
    (tmp_path / "comparisons" / "shop" / "remark.txt").write_text("a short one\n")
    (tmp_path / "searches" / "shop").mkdir(parents=True)
    (tmp_path / "searches" / "shop" / "trials.md").write_text("| trial |")
    write_tables(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "- [shop](comparisons/shop/leaderboard.md): a short one\n" in page
    assert "- [shop](searches/shop/trials.md)\n" in page


def test_another_recipe_starts_anew_but_a_published_row_does_not(go, recipe):
    first, _ = go(seeds=[1])
    recipe.write_text(SASREC.replace("0.2", "0.3"))
    second, _ = go(seeds=[1])
    assert second["seeds"] == first["seeds"] and second["published"]["full-mask"][0]["HR@10"] == 0.3
    recipe.write_text(SASREC.replace("dim = 8", "dim = 16"))
    third, _ = go(seeds=[2])
    assert list(third["seeds"]) == ["2"]


def test_seeds_stay_where_an_argument_came_since_and_keeps_its_default(go, tmp_path):
    first, _ = go(seeds=[1])
    file = tmp_path / "results" / "shop" / "small.json"
    older = dict(
        first, digest="of an older version", numbers={k: v for k, v in first["numbers"].items() if k != "heads"}
    )
    del older["begun"]
    file.write_text(json.dumps(older))
    second, lines = go(seeds=[1])
    assert second["seeds"] == first["seeds"] and any("there already" in line for line in lines)
    for change in (
        {"numbers": {**older["numbers"], "dim": 16}},
        {"method": "gru4rec"},
        {"begun": {"stage": "pretrain"}},
    ):
        file.write_text(json.dumps({**older, **change}))
        _, lines = go(seeds=[1])
        assert not any("there already" in line for line in lines), change


def test_a_failed_seed_leaves_the_earlier_ones(go, monkeypatch, tmp_path):
    real = module.train

    def fails_on_two(*arguments, seed, **options):
        if seed == 2:
            raise RuntimeError("stopped")
        return real(*arguments, seed=seed, **options)

    monkeypatch.setattr(module, "train", fails_on_two)
    with pytest.raises(RuntimeError, match="stopped"):
        go()
    result = json.loads((tmp_path / "results" / "shop" / "small.json").read_text())
    assert list(result["seeds"]) == ["1"]
    assert "small" in (tmp_path / "results" / "README.md").read_text()


def test_the_table_has_means_spread_and_distance():
    def seed(value):
        metrics = dict.fromkeys(COLUMNS, value)
        return {
            "protocols": {"full-mask": {"metrics": metrics}},
            "epochs": 3,
            "train_seconds": 2.0,
            "selected": {"metric": "MRR", "protocol": "pop-100", "value": 0.5, "epoch": 1},
            "commit": "abcdef1234",
            "dirty": True,
        }

    result = {
        "dataset": "shop", "recipe": "small", "data": {"users": 10, "items": 5, "actions": 50},
        "published": {"full-mask": [{"source": "a paper", "HR@10": 0.08}]}, "seeds": {"1": seed(0.1), "2": seed(0.2)},
    }  # fmt: skip
    text = table([result])
    assert "0.1500 ± 0.0707" in text
    assert "*0.0800 (+87.5 %)*" in text and "a paper" in text
    assert "abcdef1\\*" in text and "| MRR pop-100 | 3 (2) | 2 s |" in text
    two = [{"source": "a paper", "HR@10": 0.08}, {"source": "another", "HR@10": 0.1}]
    both = table([{**result, "published": {"full-mask": two}}])
    assert both.index("*a paper*") < both.index("*another*") and "*0.1000 (+50.0 %)*" in both
    started = {**result, "begun": {"start": "before", "negatives": None}}
    assert "| 2 s after before |" in table([started])
    places = [{"threads": 2, "cuda": None}, {"threads": 1, "cuda": None}, {"threads": 8, "cuda": "H200"}]
    for used, text in ((places[:1], "2 s by 2 threads"), (places[1:2], "2 s by 1 thread"), (places[2:], "2 s"),
                       (places, "2 s by 1 or 2 threads")):  # fmt: skip
        seeds = {str(n): {**result["seeds"]["1"], "hardware": place} for n, place in enumerate(used)}
        assert f"| {text} |" in table([{**result, "seeds": seeds}])
    result["seeds"]["1"]["selected"] = None
    assert "| last epoch |" in table([result])
    result["seeds"] = {"1": seed(0.08004)}
    assert "*0.0800 (+0.0 %)*" in table([result])
    del result["seeds"]["1"]["protocols"]["full-mask"]["metrics"]["HR@1"]  # measured before that metric was
    result["published"]["full-mask"][0]["HR@1"] = 0.04
    assert "*0.0400* | " in table([result])
    many = [
        {**result, "recipe": f"small-{name}", "file": "shop/small.toml", "remark": "a better loss"} for name in "ab"
    ]
    assert table(many).count("- small: a better loss") == 1 and "- small" not in table([result])


def test_variants_are_compared_with_the_first_over_the_seeds_that_both_have():
    def variant(name, dataset, values):
        seeds = {
            seed: {
                "protocols": {
                    "full-mask": {"metrics": {"NDCG@10": 2 * value}},
                    "full-open": {"metrics": {"NDCG@10": value}, "validation": {"NDCG@10": value / 2}},
                },
                "selected": {"metric": "NDCG@10", "protocol": "full-mask", "value": value},
            }
            for seed, value in values.items()
        }
        head = {"dataset": dataset, "file": f"{dataset}/ladder.toml", "variants": ["whole", "plain"]}
        return {**head, "variant": name, "seeds": seeds, "remark": "noisy" if dataset == "songs" else None}

    text = table_of_variants([
        variant("plain", "shop", {"1": 0.1, "2": 0.3}),
        variant("whole", "shop", {"1": 0.2, "2": 0.2, "3": 0.9}),
        variant("plain", "alone", {"1": 0.1}),
        variant("whole", "songs", {"1": 0.2, "2": 0.3}),
        variant("plain", "songs", {"1": 0.3, "2": 0.3, "3": 0.0}),
        variant("whole", "films", {"1": 0.2}),
        variant("plain", "films", {"1": 0.1}),
        {**variant("whole", "shop", {"1": 0.5}), "variants": []},
    ])  # fmt: skip
    rows = [line for line in text.splitlines() if line.startswith("| ") and ("shop |" in line or "alone |" in line)]
    assert rows == [
        "| whole | shop | full-mask | 0.4333 ± 0.4041 |  | 3 | 0.8667 ± 0.8083 |  |",
        "| whole | shop | full-open | 0.2167 ± 0.2021 |  | 3 | 0.4333 ± 0.4041 |  |",
        "| plain | alone | full-mask | 0.1000 |  | 1 | 0.2000 |  |",
        "| plain | alone | full-open | 0.0500 |  | 1 | 0.1000 |  |",
        "| plain | shop | full-mask | 0.2000 ± 0.1414 | +0.0 % | 2 - + | 0.4000 ± 0.2828 | +0.0 % |",
        "| plain | shop | full-open | 0.1000 ± 0.0707 | +0.0 % | 2 - + | 0.2000 ± 0.1414 | +0.0 % |",
    ]
    assert "## ladder" in text and text.count("## ") == 1 and text.endswith("\n\n- songs: noisy\n")
    assert "| plain | songs (2) | films (1) |" in text and "| variant | rises on | falls on |" in text


def test_what_the_lists_hold_is_a_page_of_its_own():
    def result(recipe, *seeds):
        entries = {str(at): {"protocols": {"full-mask": {"metrics": metrics}}} for at, metrics in enumerate(seeds)}
        return {"recipe": recipe, "dataset": "shop", "seeds": entries}

    wide, narrow = ({"NDCG@10": 0.1, "coverage@10": share, "novelty@10": 9.0} for share in (0.5, 0.3))
    sampled = {"NDCG@10": 0.5}
    text = table_of_lists([result("a", wide, narrow), result("b", wide | {"distance@10": 0.25}), result("c", sampled)])
    assert "| a | 0.1000 ± 0.0000 | 0.4000 ± 0.1414 |  | 9.0000 ± 0.0000 |  | 2 |" in text
    assert "| b | 0.1000 | 0.5000 |  | 9.0000 | 0.2500 | 1 |" in text and "| c |" not in text
    assert "## " not in table_of_lists([result("c", sampled), result("d")])


def test_variants_of_a_recipe_are_written_beside_the_table(data, recipe, tmp_path):
    own = "[variants.narrow]\ndim = 4\n[variants.narrow.published.full-open]\nsource = 'its own'\n\"HR@1\" = 0.9\n"
    recipe.write_text(SASREC + "[variants.wide]\ndim = 8\n" + own)
    out = tmp_path / "results"
    reproduce([recipe], data=data, seeds=[1], out=out, work=tmp_path / "work", progress=False)
    text = (out / "variants.md").read_text()
    assert text.index("| wide | shop |") < text.index("| narrow | shop |")
    wide, narrow = (json.loads((out / "shop" / f"small-{name}.json").read_text()) for name in ("wide", "narrow"))
    assert wide["published"] == {"full-mask": [{"source": "a paper", "HR@10": 0.2}]}
    assert narrow["published"] == {"full-open": [{"source": "its own", "HR@1": 0.9}]}
    seed = wide["seeds"]["1"]
    assert seed["protocols"]["full-mask"]["validation"]["NDCG@10"] == pytest.approx(seed["selected"]["value"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("method = ", "TOML"),
        ("protocols = []", "no method"),
        ('method = "sasrek"', "sasrec"),
        ('method = "sasrec"\nseed = 1', "unknown key 'seed'"),
        ('method = "sasrec"\n[numbers]\ndimm = 1', "dimm"),
        ('method = "sasrec"\n[variants.wide]\ndimm = 1', "dimm"),
        ('method = "sasrec"\n[variants.wide.published.full-open]\n"HR@10" = 0.1', "variant wide"),
        ('method = "sasrec"\nprotocols = ["half"]', "full-mask"),
        ('method = "sasrec"\n[published.full-open]\n"HR@10" = 0.1', "full-open"),
        ('method = "sasrec"\n[published.full-mask]\n"HR@10" = "0.1"', r"published\.full-mask\.0\.HR@10='0\.1'.*number"),
        ('method = "sasrec"\npublished = 3', "published=3"),
        ('method = "sasrec"\nprotocols = []', r"protocols=\[\]"),
        ('method = "sasrec"\nprotocols = "full-mask"', "protocols='full-mask'.*list"),
        ('method = "sasrec"\nseeds = 3', "seeds=3.*list"),
        ('method = "sasrec"\nseeds = [1.5]', r"seeds\.0=1\.5.*integer"),
        ('method = "sasrec"\nnumbers = 3', "numbers=3"),
        ('method = "sasrec"\n[numbers]\ndim = "wide"', r"wrong\.toml: sasrec: dim='wide' should be int"),
        ('method = "sasrec"\n[variants.wide]\nlr = 0', "lr=0 must be above 0"),
        ('method = "sasrec"\n[variants]\nwide = 3', r"variants\.wide=3"),
        ("method = 3", "method=3"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path, content, message):
    file = tmp_path / "wrong.toml"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        read_recipes(file)


PRETRAIN = """method = "s3rec-mip"
stage = "pretrain"
seeds = [1]
[numbers]
dim = 8
length = 10
pretrain_windows = "whole"
pretrain_epochs = 1
"""


def test_a_recipe_starts_from_another_one_s_run(recipe, data, tmp_path):
    recipe.with_name("first.toml").write_text(PRETRAIN)
    text = PRETRAIN.replace('stage = "pretrain"', 'start = "first"') + "epochs = 1\n"
    recipe.with_name("second.toml").write_text(text)
    recipe.with_name("apart.toml").write_text(text.replace('start = "first"\n', ""))
    files = [recipe.with_name(f"{name}.toml") for name in ("second", "apart")]
    reproduce(files, data=data, out=tmp_path / "results", work=tmp_path / "work", progress=False)
    second, apart = (json.loads((tmp_path / "results" / "shop" / f"{file.stem}.json").read_text()) for file in files)
    assert second["seeds"]["1"]["protocols"] == apart["seeds"]["1"]["protocols"]
    assert second["seeds"]["1"]["epochs"] == 1 and apart["seeds"]["1"]["epochs"] == 2
    assert [one["seeds"]["1"]["selected"]["epoch"] for one in (second, apart)] == [0, 1], "counted over all stages"
    assert second["digest"] != apart["digest"]
    kept = [path.name for path in (tmp_path / "work" / "shop").iterdir()]
    assert len(kept) == 1 and kept[0].startswith("first-")


def test_a_change_of_what_a_recipe_starts_from_begins_its_results_anew(recipe, data, tmp_path):
    first, second = (recipe.with_name(f"{name}.toml") for name in ("first", "second"))
    first.write_text(PRETRAIN)
    second.write_text(PRETRAIN.replace('stage = "pretrain"', 'start = "first"') + "epochs = 1\n")
    places = {"data": data, "out": tmp_path / "results", "work": tmp_path / "work", "progress": False}

    def go(**options):
        lines = []
        reproduce([second], say=lines.append, **places, **options)
        result = json.loads((tmp_path / "results" / "shop" / "second.json").read_text())
        return result["seeds"], any("there already" in line for line in lines)

    before, _ = go()
    assert go() == (before, True)
    kept = next((tmp_path / "work" / "shop").glob("first-*")) / "model.safetensors"
    written = kept.stat().st_mtime_ns
    assert not go(again=True)[1] and kept.stat().st_mtime_ns > written, "what it starts from is trained again too"
    first.write_text(PRETRAIN + "mask_rate = 0.5\n")
    after, there = go()
    assert not there and after["1"]["protocols"] != before["1"]["protocols"]


def test_seeds_that_another_process_measured_meanwhile_stay(go, tmp_path):
    result, _ = go(seeds=[1])
    file = tmp_path / "results" / "shop" / "small.json"

    def other(line):
        if line.endswith("users"):
            file.write_text(json.dumps(result | {"seeds": result["seeds"] | {"7": result["seeds"]["1"]}}))

    found, _ = go(seeds=[2], say=other)
    assert sorted(found["seeds"]) == ["1", "2", "7"]


def test_what_is_in_the_way_is_said_before_anything_is_trained(recipe, data, tmp_path):
    out = tmp_path / "mine"
    places = {"data": data, "out": out, "work": tmp_path / "work", "progress": False}
    out.mkdir()
    (out / "README.md").write_text("# My project")
    with pytest.raises(InputError, match=r"README\.md was not written by recloom"):
        reproduce([recipe], **places)
    (out / "README.md").unlink()
    (out / "shop").mkdir()
    (out / "shop" / "half.json").write_text('{"recipe": ')
    with pytest.raises(InputError, match=r"half\.json is no JSON"):
        reproduce([recipe], **places)
    (out / "shop" / "half.json").unlink()
    for more, message in (
        ('stage = "polish"\n', "polish"),
        ('start = "gone"\n', r"gone\.toml"),
        ('protocols = ["sample-99"]\n', "needs 99 items"),
    ):
        late = recipe.with_name("late.toml")
        late.write_text(more + 'method = "sasrec"\n')
        with pytest.raises(InputError, match=rf"late\.toml.*{message}|{message}"):
            reproduce([recipe, late], **places)
    assert not (tmp_path / "work").exists()


def test_variants_are_results_of_their_own(recipe, data, tmp_path):
    recipe.write_text(SASREC.replace("[1, 2]", "[1]") + "[variants.narrow]\ndim = 4\n[variants.same]\ndim = 8\n")
    reproduce([recipe], data=data, out=tmp_path / "results", work=tmp_path / "work", progress=False)
    found = [json.loads((tmp_path / "results" / "shop" / f"small-{v}.json").read_text()) for v in ("narrow", "same")]
    assert [result["numbers"]["dim"] for result in found] == [4, 8]
    text = (tmp_path / "results" / "README.md").read_text()
    assert "[small-narrow](../recipes/shop/small.toml)" in text


def test_some_variants_of_a_recipe_alone(recipe, data, tmp_path):
    places = {"data": data, "out": tmp_path / "results", "work": tmp_path / "work", "progress": False}
    with pytest.raises(InputError, match="there is no variant 'narrow'; it has none"):
        reproduce([recipe], variants=["narrow"], **places)
    recipe.write_text(SASREC.replace("[1, 2]", "[1]") + "[variants.narrow]\ndim = 4\n[variants.same]\ndim = 8\n")
    with pytest.raises(InputError, match="no variant ''; it has narrow, same"):
        reproduce([recipe], variants=[], **places)
    with pytest.raises(InputError, match="no variant 'wide'; it has narrow, same"):
        reproduce([recipe], variants=["same", "wide"], **places)
    reproduce([recipe], variants=["same"], **places)
    assert [file.name for file in (tmp_path / "results" / "shop").iterdir()] == ["small-same.json"]


def test_published_negatives_are_the_candidates(recipe, data, tmp_path):
    import polars as pl

    log = pl.read_parquet(data / "shop" / "interactions.parquet")
    items = sorted(set(log["item_id"].to_list()))
    seen = log.sort("timestamp").group_by("user_id").agg("item_id")
    rows = [{"user_id": user, "negatives": [items[own[-1] == items[0]]] * 99} for user, own in seen.iter_rows()]
    pl.DataFrame(rows).write_parquet(data / "shop" / "negatives.parquet")
    text = SASREC.replace('["full-mask", "full-open"]', '["sample-99"]').replace("full-mask", "sample-99")
    recipe.write_text('negatives = "negatives.parquet"\n' + text)
    reproduce([recipe], data=data, out=tmp_path / "results", work=tmp_path / "work", seeds=[1], progress=False)
    found = json.loads((tmp_path / "results" / "shop" / "small.json").read_text())["seeds"]["1"]["protocols"][
        "sample-99"
    ]
    hit = found["metrics"]["HR@5"]  # one item stands there 99 times: the target is first or last
    assert 0 < hit < 1 and found["metrics"]["HR@20"] == hit
    assert found["metrics"]["MRR"] == pytest.approx(hit + (1 - hit) / 100)
    pl.DataFrame(rows[1:]).write_parquet(data / "shop" / "fewer.parquet")
    places = {"data": data, "out": tmp_path / "others", "work": tmp_path / "untrained", "progress": False}
    fewer, gone = recipe.with_name("fewer.toml"), recipe.with_name("gone.toml")
    fewer.write_text('negatives = "fewer.parquet"\n' + text)
    gone.write_text('negatives = "gone.parquet"\n' + text)
    with pytest.raises(InputError, match="has no negatives"):
        reproduce([fewer], **places)
    with pytest.raises(InputError, match=r"gone\.parquet does not exist"):
        reproduce([recipe, gone], **places)
    assert not (tmp_path / "untrained").exists(), "said before anything is trained"


def test_missing_data_are_named(recipe, data, tmp_path, monkeypatch):
    monkeypatch.delenv("RECLOOM_DATA", raising=False)
    with pytest.raises(InputError, match="RECLOOM_DATA"):
        reproduce([recipe], out=tmp_path / "results")
    other = tmp_path / "recipes" / "mall" / "small.toml"
    other.parent.mkdir()
    other.write_text(SASREC)
    with pytest.raises(InputError, match=r"'mall'.*holds shop"):
        reproduce([other], data=data, out=tmp_path / "results")


def test_the_recipes_of_the_repository_are_well_formed():
    from pathlib import Path

    from recloom import methods

    files = sorted((Path(__file__).parents[2] / "recipes").glob("*/*.toml"))
    assert len(files) >= 9
    for file in files:
        for recipe in read_recipes(file):
            assert recipe.numbers.keys() <= methods.arguments(recipe.method).keys()
            assert all("source" in row for rows in recipe.published.values() for row in rows)
            assert recipe.start is None or recipe.beside(recipe.start).stage


@pytest.mark.repro
def test_popularity_on_beauty_is_the_published_row(real_data, tmp_path):
    from pathlib import Path

    file = Path(__file__).parents[2] / "recipes" / "beauty" / "pop-all.toml"
    reproduce([file], data=real_data, out=tmp_path, work=tmp_path / "work", progress=False)
    found = json.loads((tmp_path / "beauty" / "pop-all.json").read_text())["seeds"]["1"]["protocols"]["full-mask"][
        "metrics"
    ]
    for name, value in read_recipes(file)[0].published["full-mask"][0].items():
        assert name == "source" or round(found[name], 4) == value


def test_what_benchmarks_measured_is_a_page(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    found = {
        "data": "beauty",
        "commits": ["c226789f84b3"],
        "hardware": {"processor": "fast", "threads": 2},
        "step_seconds": {"recloom": 0.5, "nested_loops": 1.25},
        "epochs": [1000, 2.5],
    }
    (tmp_path / "benchmarks" / "some_step.json").write_text(json.dumps(found))
    write_tables(tmp_path)
    text = (tmp_path / "speed.md").read_text()
    assert "## [some_step](../benchmarks/some_step.py)\n\nbeauty; fast; 2 threads; c226789.\n" in text
    assert "| step seconds, nested loops | 1.25 |\n| epochs | 1,000, 2.5 |\n" in text
    assert "##" not in table_of_speed({}).removeprefix("# Speed")
