"""What every method must keep, once for each entry of METHODS."""

import sys

import numpy as np
import polars as pl
import pytest
import torch

import recloom
from recloom import methods
from recloom.data.batch import SequenceBatch, gather
from recloom.data.module import SequenceData, query_batches
from recloom.data.windows import sliding
from recloom.errors import InputError
from recloom.nn.users import UserEmbedding
from recloom.training.callbacks import Validate

QUICK = {
    **{"dim": 16, "hidden": 32, "length": 12, "epochs": 3, "batch_size": 64, "precision": "fp32"},
    **{"pretrain_epochs": 2, "pretrain_windows": "whole", "pretrain_batch_size": 64},
}
LEARN = {"epochs": 30, "dropout": 0.1, "lr": 5e-3, "patience": 30}


def numbers(name, **more):
    return {key: value for key, value in {**QUICK, **more}.items() if key in methods.arguments(name)}


def scores(run, data):
    """Every test user's score of every id, `(users, n_items + 2)`."""
    with torch.no_grad():
        found = torch.zeros(data.n_users, data.n_items + 2)
        for rows, batch in query_batches(data, "test", run.method.length):
            found[rows] = run.method.score(batch, torch.arange(data.n_items + 2))
    return found[:, 1:-1]


@pytest.fixture(scope="module", params=[*methods.METHODS, "fm with attributes", "autoint with attributes"])
def case(request):
    return request.param


@pytest.fixture(scope="module")
def name(case):
    return case.split()[0]


@pytest.fixture(scope="module")
def data(case, name, request):
    """The cycle, with attributes for the methods that need them; those that may have them are tested both ways."""
    needs = next(row["needs"] for row in methods.describe() if row["name"] == name)
    with_attributes = "attributes" in needs or "with attributes" in case
    return request.getfixturevalue("cycle_with_attributes" if with_attributes else "cycle")


@pytest.fixture(scope="module")
def run(name, data, tmp_path_factory):
    return recloom.train(name, data, out=tmp_path_factory.mktemp(name) / "run", progress=False, **numbers(name))


def trains(run):
    return run.history.height > 0


def sequential(name):
    return sys.modules[methods.get_build(name).__module__].ABOUT.sequential


def test_learns_what_it_can(name, data, run):
    """A known cycle; without order, whose items are whose; a method that only counts has nothing to learn."""
    if not trains(run):
        assert not list(run.method.parameters())
    elif sequential(name):
        trained = recloom.train(name, data, progress=False, **numbers(name, **LEARN))
        assert trained.evaluate(k=(3,)).metrics()["HR@3"] >= 0.9
    else:
        draw, schema = np.random.default_rng(0), ["user_id", "item_id"]
        rows = [(user, user % 2 * 100 + int(item)) for user in range(300) for item in draw.permutation(15)[:10]]
        log = pl.DataFrame(rows, schema=schema, orient="row").with_columns(timestamp=pl.int_range(pl.len()))
        groups = recloom.prepare(log, min_user=0, min_item=0)
        trained = recloom.train(name, groups, progress=False, **numbers(name, **LEARN))
        found = trained.evaluate(k=(6,)).metrics()["HR@6"]
        assert found >= 0.9, "six items of the user's group are left, of 21 in all"


def test_padding_changes_nothing(run, data):
    items = torch.tensor([[3, 4, 5, 0], [9, 10, 0, 0]])
    more = torch.nn.functional.pad(items, (0, 3))
    every = torch.arange(1, data.n_items + 1)
    with torch.no_grad():
        one, two = (run.method.score(SequenceBatch(torch.tensor([0, 1]), x), every) for x in (items, more))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_a_later_item_never_changes_an_earlier_causal_state(run):
    if getattr(run.method, "backbone", None) is None:
        pytest.skip("the method has no backbone")
    items = torch.tensor([[3, 4, 5, 6, 7]])
    changed = items.clone()
    changed[0, 3:] = 20
    with torch.no_grad():
        one, two = run.method.backbone(items), run.method.backbone(changed)
    torch.testing.assert_close(one[:, :3], two[:, :3])
    assert not torch.allclose(one[:, 3:], two[:, 3:])


def test_scores_are_finite_and_both_ways_of_scoring_agree(run, data):
    everywhere = scores(run, data)
    assert torch.isfinite(everywhere).all()
    rows, batch = next(query_batches(data, "test", run.method.length))
    chosen = torch.randint(1, data.n_items + 1, (len(batch), 7))
    with torch.no_grad():
        torch.testing.assert_close(run.method.score(batch, chosen), everywhere[rows].gather(1, chosen - 1))


def test_save_and_load_give_the_same_scores(run, data, tmp_path):
    again = recloom.load(run.save(tmp_path / "copy"))
    assert torch.equal(scores(run, data), scores(again, data))
    assert not [file for file in (tmp_path / "copy").rglob("*") if file.suffix in {".pkl", ".pt", ".ckpt"}]


def test_loads_without_the_training_data(run, tmp_path):
    again = recloom.load(run.save(tmp_path / "copy"))
    again.recipe["data"]["path"] = str(tmp_path / "gone")
    assert len(again.recommend([[103, 104, 105]], k=5).frame) == 5


def test_same_seed_same_numbers(name, run, data):
    again = recloom.train(name, data, progress=False, **numbers(name))
    assert torch.equal(scores(run, data), scores(again, data))
    if trains(run):
        other = recloom.train(name, data, progress=False, seed=2, **numbers(name))
        assert not torch.equal(scores(run, data), scores(other, data))


def test_trains_in_mixed_precision(name, run, data):
    if not trains(run):
        pytest.skip("nothing is trained")
    mixed = recloom.train(name, data, progress=False, mixed_precision=True, **numbers(name, epochs=1))
    assert torch.isfinite(scores(mixed, data)).all()
    assert torch.isfinite(torch.tensor(mixed.history["loss/total"].to_list())).all()


def test_stop_and_resume_equals_straight_through(name, run, data, tmp_path, monkeypatch):
    if not trains(run):
        pytest.skip("nothing to resume")
    kept = Validate.on_train_epoch_start
    stages = len(methods.build(name, data.catalog, **numbers(name)))
    cuts = {(f"stage-{stages - 1}", 2)} | ({("stage-0", 1)} if stages > 1 else set())

    def pull_the_plug(self, trainer, module):
        kept(self, trainer, module)
        if (moment := (self.file.parent.name, trainer.current_epoch)) in cuts:
            cuts.remove(moment)
            raise RuntimeError("power cut")

    monkeypatch.setattr(Validate, "on_train_epoch_start", pull_the_plug)
    while cuts:
        with pytest.raises(RuntimeError, match="power cut"):
            recloom.train(name, data, out=tmp_path / "run", progress=False, **numbers(name))
    monkeypatch.undo()
    with pytest.raises(InputError, match="has not finished"):
        recloom.load(tmp_path / "run")
    resumed = recloom.train(name, data, out=tmp_path / "run", progress=False, **numbers(name))
    assert torch.equal(scores(run, data), scores(resumed, data))
    losses = [column for column in run.history.columns if not column.endswith("seconds")]
    assert run.history.select(losses).equals(resumed.history.select(losses))


def test_padding_and_mask_are_never_recommended(run, data):
    found = run.recommend([[103, 104], [110]], k=1000, filter_seen=False).frame
    assert set(found["item_id"]) == set(data.catalog.item_ids.tolist())


def test_build_runs_with_defaults_and_rejects_an_unknown_argument(name, data):
    assert methods.build(name, data.catalog)
    with pytest.raises(InputError, match=r"no argument 'dimm'"):
        methods.build(name, data.catalog, dimm=3)


def test_a_wrong_type_is_refused_by_name(name, data):
    for key, default in methods.arguments(name).items():
        if isinstance(default, int):
            with pytest.raises(InputError, match=key):
                methods.build(name, data.catalog, **{key: "many"})


def test_is_described(name):
    row = next(row for row in methods.describe() if row["name"] == name)
    assert row["file"].startswith("recloom/methods/") and row["needs"]


def test_every_evaluation_protocol_runs(run):
    for protocol in ("full-mask", "full-open"):
        values = run.evaluate(protocol=protocol).metrics()
        assert 0 <= values["HR@10"] <= 1 and np.isfinite(list(values.values())).all()


def test_users_left_out_of_training_are_served_as_new_ones(name, run, data):
    """Of `--share`, and of a split by time, where some have no action before the cut."""
    one_epoch = numbers(name, epochs=1, pretrain_epochs=1)
    if not trains(run):
        with pytest.raises(InputError, match=f"nothing of {name} is here"):
            recloom.train(name, data, share=0.5, progress=False, **one_epoch)
        return
    run = recloom.train(name, data, share=0.5, progress=False, **one_epoch)
    trained = SequenceData(data, sliding, length=12, share=0.5, draw_seed=1).windows.users
    left_out = np.setdiff1d(np.arange(data.n_users), trained)[:20]
    own, users = gather(data.sequences.items, *(data.split.test.start[left_out] + n for n in (0, 5))), {}
    with torch.no_grad():
        for who in (torch.from_numpy(left_out), torch.full((20,), -1), torch.from_numpy(trained[:20])):
            users[int(who[0])] = run.method.score(SequenceBatch(who, torch.from_numpy(own)), torch.arange(1, 31))
    torch.testing.assert_close(users[int(left_out[0])], users[-1])
    knows_users = any(isinstance(part, UserEmbedding) for part in run.method.modules())
    assert knows_users != torch.allclose(users[int(trained[0])], users[-1])
