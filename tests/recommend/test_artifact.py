"""An artifact answers as the run it comes from, whatever the method, and without the code of training."""

import json
import subprocess
import sys

import numpy as np
import pytest

import recloom
from recloom import methods
from recloom.errors import InputError
from recloom.recommend import to_onnx

ROWS = [[100, 101, 102], [107], [129], [103, 104, 103, 104, 105], [100 + i % 30 for i in range(40)], [999], []]

QUICK = {
    "dim": 16,
    "hidden": 16,
    "length": 12,
    "epochs": 1,
    "pretrain_epochs": 1,
    "batch_size": 64,
    "precision": "fp32",
    "popularity": 1.0,
}
VECTORS = [
    row["name"] for row in methods.describe() if row["name"] not in ("repeat-recent", "ncf", "autoint", "bpr-mf")
]
OFTEN = ["dssrec", "loom", "hgn", "gru4rec-f", "bert4rec"]
"""Several queries, terms of seen items, vectors of users, a recurrence over attributes, a mask at the end."""


@pytest.fixture(scope="module")
def run_of(cycle_with_attributes, tmp_path_factory):
    """The run of a method, trained once."""
    runs = {}

    def train(name):
        if name not in runs:
            numbers = {key: value for key, value in QUICK.items() if key in methods.arguments(name)}
            out = tmp_path_factory.mktemp(name) / "run"
            runs[name] = recloom.train(name, cycle_with_attributes, out=out, progress=False, **numbers)
        return runs[name]

    return train


@pytest.fixture(scope="module")
def exported(run_of, tmp_path_factory):
    """The folder of a method's artifact, written once and not to be changed."""
    folders = {}

    def export(name):
        if name not in folders:
            folders[name] = run_of(name).export(tmp_path_factory.mktemp(name) / "artifact")
        return folders[name]

    return export


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in VECTORS]
)
def test_it_answers_as_its_run(run_of, exported, name):
    run, artifact = run_of(name), recloom.Artifact(exported(name))
    for options in ({}, {"filter_seen": False}, {"deny": [101, 102]}):
        wanted, found = run.recommend(ROWS, 5, **options).frame, artifact.recommend(ROWS, 5, **options).frame
        assert found.columns == wanted.columns
        np.testing.assert_allclose(found["score"], wanted["score"], rtol=1e-3, atol=1e-5)
        assert (found["item_id"] == wanted["item_id"]).mean() > 0.95  # but for near ties
        if "intent" in wanted.columns:
            assert (found["intent"].fill_null(-1) == wanted["intent"].fill_null(-1)).mean() > 0.95
    if artifact.facts["dim"] > 1:
        assert artifact.similar(105, 4).drop("score").equals(run.similar(105, 4).drop("score"))
    assert len({file.stat().st_mode for file in artifact.path.iterdir()}) == 1, "one may read all files or none"
    assert artifact.facts["run"]["method"] == name and "path" not in artifact.facts["run"]["data"]


def test_the_run_stays_as_it_was(run_of, exported):
    run = run_of("loom")
    exported("loom")
    assert type(run.method.backbone.items).__name__ != "EncodedItems"
    assert run.recommend(ROWS[:1], 3).items == recloom.load(run.path).recommend(ROWS[:1], 3).items


def test_intents_say_which_query_found_an_item(run_of, exported):
    artifact = recloom.Artifact(exported("dssrec"))
    assert artifact.facts["intents"] == run_of("dssrec").recipe["numbers"]["intents"] > 1
    assert artifact.recommend(ROWS[:2], 5).frame["intent"].is_between(0, artifact.facts["intents"] - 1).all()


def test_nothing_of_training_is_imported(exported):
    code = (
        "import sys; from recloom import Artifact; "
        f"print(Artifact({str(exported('hgn'))!r}).recommend([[100, 101]], 3).items); "
        "print([name for name in ('lightning', 'onnx', 'onnxscript', 'recloom.training', 'recloom.methods') "
        "if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(json.loads(said[0])[0]) == 3 and said[1] == "[]"


@pytest.mark.parametrize("name, reason", [("ncf", "ranks by scores"), ("bpr-mf", "solving equations")])
def test_a_method_that_cannot_be_exported_says_why(run_of, tmp_path, name, reason):
    with pytest.raises(InputError, match=rf"{name} cannot be exported: .*{reason}.*Recommend from its run"):
        run_of(name).export(tmp_path / "artifact")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_and_nothing_is_left(run_of, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"pip install 'recloom\[export\]'"):
        run_of("pop").export(tmp_path / "artifact")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_answers_otherwise_is_not_kept(run_of, tmp_path, monkeypatch):
    monkeypatch.setattr(to_onnx.NobodyKnown, "forward", lambda self, users: 2 * self.vector.expand(users.shape[0], -1))
    with pytest.raises(InputError, match=r"hgn: the exported graph gives other queries.*nothing was written"):
        run_of("hgn").export(tmp_path / "artifact")
    assert not list(tmp_path.iterdir())


def test_damage_is_told_with_its_file(run_of, tmp_path):
    folder = run_of("pop").export(tmp_path / "artifact")
    for name in ("queries.onnx", "vectors.safetensors", "catalog.parquet"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(InputError, match=rf"{name} is damaged: .*checksum.*export the run again"):
            recloom.Artifact(folder)
        (folder / name).unlink()
        with pytest.raises(InputError, match=rf"has no {name}; copy the whole folder"):
            recloom.Artifact(folder)
        (folder / name).write_bytes(whole)
    (folder / "artifact.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match=r"artifact.json: format 99.*export the run again"):
        recloom.Artifact(folder)


def test_an_older_artifact_is_replaced_and_nothing_else(run_of, tmp_path):
    folder = run_of("pop").export(tmp_path / "artifact")
    assert run_of("pop").export(folder) == folder and recloom.Artifact(folder).facts["method"] == "pop"
    (tmp_path / "notes").mkdir()
    for other in (tmp_path / "notes", folder):
        (other / "mine.txt").write_text("keep")
        with pytest.raises(InputError, match="holds something else than an artifact"):
            run_of("pop").export(other)
        assert (other / "mine.txt").read_text() == "keep"


def test_a_folder_that_is_none_and_an_artifact_that_is_no_run(run_of, exported, tmp_path):
    with pytest.raises(InputError, match=r"is no artifact: .*recloom export RUN"):
        recloom.Artifact(run_of("hgn").path)
    with pytest.raises(InputError, match="is an artifact, which only recommends"):
        recloom.load(exported("hgn"))
