"""One stage at a time, starting from a run, and a share of the users."""

import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

import recloom
from recloom.data.module import SequenceData
from recloom.data.windows import whole
from recloom.errors import InputError
from recloom.training.callbacks import AverageWeights, Validate, any_of_three

NUMBERS = {
    **{"dim": 8, "length": 10, "pretrain_windows": "whole", "pretrain_epochs": 2, "epochs": 2},
    **{"progress": False, "attention_dropout": 0.2},
}


@pytest.fixture(scope="module")
def pretrained(cycle, tmp_path_factory):
    return recloom.train("s3rec-mip", cycle, out=tmp_path_factory.mktemp("pre") / "run", stage="pretrain", **NUMBERS)


def weights(run):
    return run.method.state_dict()


def same(one, two):
    return all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_stage_alone_and_the_rest_from_it_equal_both_in_one_go(cycle, pretrained):
    whole_run = recloom.train("s3rec-mip", cycle, **NUMBERS)
    rest = recloom.train("s3rec-mip", cycle, start=pretrained.path, **NUMBERS)
    assert same(weights(whole_run), weights(rest))
    assert whole_run.history.height == 4 and rest.history.height == 2
    assert rest.recipe["training"]["start"]["method"] == "s3rec-mip"


def test_averaged_weights_are_validated_kept_and_survive_a_stop(cycle, tmp_path, monkeypatch):
    numbers = {"dim": 8, "length": 10, "epochs": 4, "progress": False, "averaging": 0.9, "batch_size": 64}
    plain = recloom.train("sasrec", cycle, **{**numbers, "averaging": 0.0})
    averaged = recloom.train("sasrec", cycle, **numbers)
    assert not same(weights(plain), weights(averaged))
    best = averaged.history["valid/NDCG@10"].max()
    assert (
        best
        == pytest.approx(averaged.evaluate(part="valid").metrics()["NDCG@10"])
        != plain.history["valid/NDCG@10"].max()
    )
    assert plain.history["loss/total"].to_list() == averaged.history["loss/total"].to_list(), "training is the same"
    kept = AverageWeights.on_train_epoch_start

    def pull_the_plug(self, trainer, module):
        if trainer.current_epoch == 2:
            raise RuntimeError("power cut")
        kept(self, trainer, module)

    monkeypatch.setattr(AverageWeights, "on_train_epoch_start", pull_the_plug)
    with pytest.raises(RuntimeError, match="power cut"):
        recloom.train("sasrec", cycle, out=tmp_path / "run", **numbers)
    monkeypatch.undo()
    assert same(weights(averaged), weights(recloom.train("sasrec", cycle, out=tmp_path / "run", **numbers)))


def test_a_stop_loses_the_epoch_under_way_alone_though_an_earlier_one_was_the_best(cycle, tmp_path, monkeypatch):
    numbers = {"dim": 8, "length": 10, "epochs": 5, "progress": False}
    begun, kept = [], Validate.on_train_epoch_start

    def falling(method, *_, **__):
        return SimpleNamespace(metrics=lambda: {"NDCG@10": 1 / (1 + method.current_epoch)})

    def watched(self, trainer, module):
        begun.append(trainer.current_epoch)
        kept(self, trainer, module)
        if begun == [0, 1, 2, 3]:
            raise RuntimeError("power cut")

    monkeypatch.setattr("recloom.training.callbacks.evaluate", falling)
    straight = recloom.train("sasrec", cycle, **numbers)
    monkeypatch.setattr(Validate, "on_train_epoch_start", watched)
    with pytest.raises(RuntimeError, match="power cut"):
        recloom.train("sasrec", cycle, out=tmp_path / "run", **numbers)
    (tmp_path / "run").rename(tmp_path / "moved")
    resumed = recloom.train("sasrec", cycle, out=tmp_path / "moved", **numbers)
    assert begun == [0, 1, 2, 3, 3, 4]
    first = recloom.train("sasrec", cycle, **{**numbers, "epochs": 1})
    assert same(weights(straight), weights(resumed)) and same(weights(first), weights(resumed))


def test_a_stage_that_had_stopped_early_trains_no_further_when_it_is_resumed(cycle, tmp_path, monkeypatch):
    numbers = {"dim": 8, "length": 10, "epochs": 9, "patience": 2, "progress": False}
    begun, kept = [], Validate.on_train_epoch_start

    def falling(method, *_, **__):
        return SimpleNamespace(metrics=lambda: {"NDCG@10": abs(1 - method.current_epoch / 3)})

    def watched(self, trainer, module):
        begun.append(trainer.current_epoch)
        kept(self, trainer, module)

    def power_cut(*_):
        raise RuntimeError("power cut")

    monkeypatch.setattr("recloom.training.callbacks.evaluate", falling)
    monkeypatch.setattr(Validate, "on_train_epoch_start", watched)
    straight = recloom.train("sasrec", cycle, **numbers)
    monkeypatch.setattr(sys.modules["recloom.training.fit"], "save_weights", power_cut)
    with pytest.raises(RuntimeError, match="power cut"):
        recloom.train("sasrec", cycle, out=tmp_path / "run", **numbers)
    monkeypatch.undo()
    monkeypatch.setattr("recloom.training.callbacks.evaluate", falling)
    monkeypatch.setattr(Validate, "on_train_epoch_start", watched)
    resumed = recloom.train("sasrec", cycle, out=tmp_path / "run", **numbers)
    assert begun == [0, 1, 2] * 2 and same(weights(straight), weights(resumed))


@pytest.mark.parametrize("decay", [0.5, 0.2])  # above and below what the first steps allow
def test_the_average_is_that_of_the_steps(decay):
    module, average = torch.nn.Linear(1, 1, bias=False), AverageWeights(decay)
    values = [1.0, 4.0, 2.0, 8.0]
    module.weight.data.fill_(values[0])
    average.on_train_epoch_start(None, module)
    wanted = values[0]
    for step, value in enumerate(values[1:], 1):
        module.weight.data.fill_(value)
        average.on_train_batch_end(None, module)
        kept = min(decay, (1 + step) / (10 + step))
        wanted = kept * wanted + (1 - kept) * value
    average.on_train_epoch_end(None, module)
    assert module.weight.item() == pytest.approx(wanted)
    average.on_train_epoch_start(None, module)
    assert module.weight.item() == values[-1]


def test_a_pretrained_run_is_saved_loaded_and_recommends(cycle, pretrained, tmp_path):
    again = recloom.load(pretrained.save(tmp_path / "copy"))
    assert same(weights(pretrained), weights(again)) and type(again.method).__name__ == "S3Pretraining"
    assert len(again.recommend([[103, 104]], k=5).frame) == 5


def test_another_method_starts_from_the_backbone_and_trains_all_its_stages(cycle, pretrained):
    shared = {"dim": 8, "length": 10, "attention_dropout": 0.2, "positions": "from_end", "progress": False}
    run = recloom.train("sasrec", cycle, start=pretrained, epochs=1, **shared)
    cold = recloom.train("sasrec", cycle, epochs=1, **shared)
    assert not same(weights(run), weights(cold))
    untrained = recloom.train("sasrec", cycle, start=pretrained, epochs=0, **shared)
    handed_on = pretrained.method.backbone.state_dict()
    assert same(untrained.method.backbone.state_dict(), handed_on)


def test_items_and_attributes_keep_their_vectors_and_new_ones_begin_anew():
    """Ids and names at other places, some gone, some new."""
    log = [(user, item, time) for user in range(8) for time, item in enumerate("abcde")]
    later = [(user, item, time) for user in range(8) for time, item in enumerate("xbAeda")]
    of = {"a": ["red"], "b": ["blue"], "c": ["red"], "d": ["tall"], "e": ["blue"], "x": ["new"], "A": ["tall"]}
    prepared = []
    for rows in (log, later):
        frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
        items = pl.DataFrame({"item_id": list(of), "attributes": list(of.values())})
        prepared.append(recloom.prepare(frame, items=items, min_user=0, min_item=0))
    numbers = {"dim": 8, "length": 6, "progress": False}
    run = recloom.train("loom", prepared[0], epochs=1, **numbers)
    fresh = recloom.train("loom", prepared[1], epochs=0, **numbers)
    grown = recloom.train("loom", prepared[1], epochs=0, start=run, **numbers)
    before, now = run.catalog, grown.catalog
    old, new, first = (weights(each) for each in (run, grown, fresh))
    ids, attributes = "backbone.items.ids.weight", "backbone.items.attributes.weight"
    for item in now.item_ids.tolist():
        source, place = before.encode([item])[0], now.encode([item])[0]
        assert torch.equal(new[ids][place], old[ids][source] if source else first[ids][place]), item
    assert torch.equal(new[ids][now.mask_id], old[ids][before.mask_id])
    for place, name in enumerate(now.attribute_names, 1):
        known = name in before.attribute_names
        source = old[attributes][before.attribute_names.index(name) + 1] if known else first[attributes][place]
        assert torch.equal(new[attributes][place], source), name
    assert same({k: v for k, v in new.items() if "encoder" in k}, {k: v for k, v in old.items() if "encoder" in k})
    assert recloom.train("loom", prepared[1], epochs=1, start=run, **numbers).history.height == 1


def test_what_does_not_fit_is_refused(cycle, pretrained, make_cycle_log, cycle_with_attributes):
    with pytest.raises(InputError, match=r"stage 'pretrian' .* the stages are pretrain, train"):
        recloom.train("s3rec-mip", cycle, stage="pretrian", **NUMBERS)
    with pytest.raises(InputError, match="the stages are train"):
        recloom.train("s3rec-mip", cycle, start=pretrained, stage="pretrain", **NUMBERS)
    with pytest.raises(
        InputError,
        match=r"not that of sasrec: items.*8\] there .*16\] here \(dim is 8 there and 16 here.*the same",
    ):
        recloom.train("sasrec", cycle, start=pretrained, dim=16, progress=False)
    with pytest.raises(InputError, match=r"dim is 8 there and 64 here"):  # nothing is taken over from the run unasked
        recloom.train("sasrec", cycle, start=pretrained, progress=False)
    with pytest.raises(InputError, match=r"encoder\S* has the shape (\[.*\]|none) there and (\[.*\]|none) here"):
        recloom.train("gru4rec", cycle, start=pretrained, dim=8, length=10, dropout=0.2, progress=False)
    with pytest.raises(InputError, match=r"hands over .* itself: `recloom train s3rec-mip \.\.\. model=caser`"):
        recloom.train("caser", cycle, start=pretrained, dim=8, length=10, progress=False)
    with pytest.raises(InputError, match="pop has no backbone"):
        recloom.train("pop", cycle, start=pretrained, progress=False)
    other = recloom.prepare(make_cycle_log(n_items=20), min_user=0, min_item=0)
    for data in (other, cycle_with_attributes):
        with pytest.raises(InputError, match="stage 'pretrain' of s3rec-mip on other items or attributes"):
            recloom.train("s3rec-mip", data, start=pretrained, **NUMBERS)
    with pytest.raises(InputError, match="nowhere is not a run: there is no such folder"):
        recloom.train("s3rec-mip", cycle, start="nowhere", **NUMBERS)


def test_a_stage_of_another_model_is_refused_by_what_differs(cycle_with_attributes, tmp_path):
    pretrained = recloom.train("s3rec", cycle_with_attributes, out=tmp_path / "pre", stage="pretrain", **NUMBERS)
    with pytest.raises(InputError, match=r"stage pretrain of .*model is 'sasrec' there and 'autoint' here"):
        recloom.train("s3rec", cycle_with_attributes, start=pretrained, model="autoint", **NUMBERS)


def test_another_start_in_the_same_folder_is_refused(cycle, pretrained, tmp_path):
    recloom.train("s3rec-mip", cycle, out=tmp_path / "run", start=pretrained, **NUMBERS)
    with pytest.raises(InputError, match="another recipe"):
        recloom.train("s3rec-mip", cycle, out=tmp_path / "run", **NUMBERS)


def test_the_metric_and_protocol_that_select_the_weights(cycle):
    def valid(run, protocol):
        return run.evaluate(protocol, part="valid").metrics()["MRR"]

    numbers = {"dim": 8, "length": 10, "epochs": 3, "progress": False}
    run = recloom.train("sasrec", cycle, valid_metric="MRR", valid_protocol="full-open", **numbers)
    assert run.history["valid/MRR"].max() == pytest.approx(valid(run, "full-open"))
    assert valid(run, "full-open") != valid(run, "full-mask")
    for wrong in ({"valid_metric": "MRR@3"}, {"valid_protocol": "full"}):
        with pytest.raises(InputError, match=next(iter(wrong.values()))):
            recloom.train("sasrec", cycle, **wrong, **numbers)


def test_any_of_three_replaces_all_three():
    values = [(3, 3, 3), (1, 1, 4), (2, 1, 1), (2, 1, 1), (1, 2, 0), (2, 2, 0), (1, 1, 0)]
    rows = [dict(zip(("valid/HR@5", "valid/NDCG@5", "valid/HR@10"), row, strict=True)) for row in values]
    assert [any_of_three(rows[: n + 1]) for n in range(len(rows))] == [1, 2, 3, 0, 4, 5, 0]


def test_any3_keeps_the_last_epoch_that_rose_and_stops(cycle):
    numbers = {"dim": 8, "length": 10, "epochs": 30, "patience": 1, "lr": 0.05, "dropout": 0.0, "progress": False}
    run = recloom.train("sasrec", cycle, valid_metric="any3", **numbers)
    counted = run.history["valid/any3"].to_list()
    assert counted == [any_of_three(run.history[: n + 1].to_dicts()) for n in range(len(counted))]
    assert len(counted) < 30 and counted[-1] == 0
    kept = run.selected
    assert (kept["metric"], kept["epoch"], kept["value"]) == ("any3", len(counted) - 2, len(counted) - 1)
    values = run.history["valid/NDCG@5"]
    assert values[kept["epoch"]] != values[-1]
    assert run.evaluate(part="valid").metrics()["NDCG@5"] == pytest.approx(values[kept["epoch"]])
    with pytest.raises(InputError, match="any3 compares epochs of one training"):
        recloom.tune("sasrec", cycle, search={"lr": [0.1, 0.2]}, out="never", valid_metric="any3")
    with pytest.raises(InputError, match="valid_metric cannot be searched"):
        recloom.tune("sasrec", cycle, search={"valid_metric": ["MRR", "HR@5"]}, out="never")


def test_a_share_of_the_users_is_part_of_a_larger_one_and_all_are_evaluated(cycle):
    of = {
        share: set(SequenceData(cycle, whole, length=10, share=share, draw_seed=4).windows.users)
        for share in (0.2, 0.5, 1.0)
    }
    assert [len(of[share]) for share in (0.2, 0.5, 1.0)] == [60, 150, 300]
    assert of[0.2] < of[0.5] < of[1.0]
    assert of[0.2] != set(np.arange(60))
    run = recloom.train("sasrec", cycle, share=0.2, dim=8, length=10, epochs=1, progress=False)
    assert run.recipe["training"]["share"] == 0.2 and len(run.evaluate().ranks) == 300
    with pytest.raises(InputError, match="share=0"):
        recloom.train("sasrec", cycle, share=0.0, dim=8, length=10, epochs=1, progress=False)


def test_corrupted_training_actions_are_the_asked_share_and_nothing_held_out(cycle):
    clean, held_out = cycle.sequences.items, np.ones(len(cycle.sequences.items), dtype=bool)
    for begin, stop in zip(cycle.sequences.offsets[:-1], cycle.split.train_stop, strict=True):
        held_out[begin:stop] = False
    changed = {}
    for share in (0.1, 0.5, 1.0):
        items = SequenceData(cycle, whole, length=10, corrupt=share, draw_seed=3).items
        changed[share] = set(np.flatnonzero(items != clean).tolist())
        assert (items[held_out] == clean[held_out]).all() and items.min() >= 1 and items.max() <= 30
        assert abs(len(changed[share]) / (~held_out).sum() - share * 29 / 30) < 0.02  # one in 30 is drawn as it was
    assert changed[0.1] < changed[0.5] < changed[1.0]
    counts = np.bincount(items[items != clean], minlength=31)[1:]  # all of them replaced
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 60, "not uniform: chi-square, 29 degrees of freedom"
    runs = [
        recloom.train("sasrec", cycle, corrupt=share, dim=8, length=10, epochs=1, progress=False)
        for share in (0.0, 0.3, 0.3)
    ]
    assert [run.recipe["training"].get("corrupt") for run in runs] == [None, 0.3, 0.3]
    without, noisy, again = (run.method.catalogue() for run in runs)
    assert torch.equal(noisy, again) and not torch.allclose(without, noisy, atol=1e-3)
    for numbers in ({"corrupt": 0.1}, {"share": 0.5}):
        with pytest.raises(InputError, match="nothing of pop is here"):
            recloom.train("pop", cycle, progress=False, **numbers)
    with pytest.raises(InputError, match=r"corrupt=1\.1"):
        recloom.train("sasrec", cycle, corrupt=1.1, dim=8, length=10, epochs=1, progress=False)


def test_a_length_that_followed_from_other_data_is_told(cycle, monkeypatch):
    numbers = {"dim": 8, "epochs": 1, "progress": False}
    before = recloom.train("loom", cycle, **numbers)
    monkeypatch.setattr("recloom.methods.loom.LONG", 1)
    with pytest.raises(InputError, match=r"length is 50 there and 200 here\); give the same arguments"):
        recloom.train("loom", cycle, start=before, **numbers)
    assert recloom.train("loom", cycle, start=before, length=50, **numbers).method.length == 50
