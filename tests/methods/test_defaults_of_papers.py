"""What baselines do by default that no small example shows: windows they train on, numbers of their papers."""

from pathlib import Path

import numpy as np
import pytest

from recloom import methods
from recloom.data.catalog import Catalog
from recloom.data.windows import sliding
from recloom.recipes import read_recipes
from recloom.reproduce import read_data

ROOT = Path(__file__).parents[2]

VIEWS = {"crop_ratio": 0.2, "mask_ratio": 0.7, "reorder_ratio": 0.2, "contrast_on": "flat", "epochs": 300}


@pytest.mark.parametrize("name", ["bpr-mf", "fm", "autoint", "ncf", "fpmc", "caser", "hgn", "bert4rec"])
def test_every_action_of_a_long_history_is_trained_on(cycle_with_attributes, name):
    """As in the papers; the latest window alone would leave out all that lies before it."""
    windows = methods.build(name, cycle_with_attributes.catalog)[-1].windows
    assert getattr(windows, "func", windows) is sliding


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("bpr-mf", {"negatives": 1}),
        ("ncf", {"negatives": 4}),
        ("fpmc", {"loss": "bpr", "negatives": 1}),
        ("gru4rec+", {"loss": "bpr-max", "samples": 2048, "alpha": 0.75, "regularisation": 1.0, "elu": 0.5}),
        ("caser", {"recent": 5, "targets": 3, "horizontal": 16, "vertical": 4, "dropout": 0.5, "weight_decay": 1e-6}),
        ("hgn", {"recent": 5, "targets": 3, "loss": "bpr", "negatives": 1, "weight_decay": 1e-6}),
        ("bert4rec", {"mask_share": 0.6, "last_share": 1 / 11, "dropout": 0.5, "attention_dropout": 0.2, "length": 50}),
        ("cl4srec", {"crop_ratio": 0.6, "mask_ratio": 0.3, "reorder_ratio": 0.6, "contrast_weight": 0.1}),
        ("duorec", {"contrast": "us_x", "contrast_weight": 0.1, "temperature": 1.0, "dropout": 0.5, "epochs": 50}),
        ("coserec", VIEWS | {"threshold": 4, "insert_ratio": 0.4, "substitute_ratio": 0.1, "warmup": 160}),
        ("lma4rec", VIEWS | {"threshold": 4, "insert_ratio": 0.4, "substitute_ratio": 0.1, "warmup": 160}),
        ("iclrec", VIEWS | {"intents": 256, "contrast_weight": 0.1, "intent_weight": 0.1, "patience": 40}),
        ("srma", VIEWS | {"extra_layers": 2, "left_out": 1, "contrast_weight": 0.1, "attention_dropout": 0.1}),
        ("mclrec", {"crop_ratio": 0.5, "mask_ratio": 0.5, "reorder_ratio": 0.8, "learned_weight": 0.05}),
        ("dssrec", {"block": "original", "batch_size": 128, "grouping": "random", "lr": 1e-3}),
        ("mminforec", {"slots": 64, "copies": 4, "key_dropout": 0.5, "memory_dropout": 0.2, "weight_decay": 1e-4}),
    ],
)
def test_numbers_of_the_papers_are_the_defaults(name, wanted):
    """For HGN and its decay see its departures; for BERT4Rec the authors' settings for Beauty."""
    arguments = methods.arguments(name)
    for key, value in wanted.items():
        assert arguments[key] == (pytest.approx(value) if isinstance(value, float) else value), key


@pytest.mark.parametrize(
    ("name", "preset", "wanted"),
    [
        ("coserec", "paper", {"loss": "bce", "grouping": "random"}),
        ("coserec", "code", {"loss": "bce", "grouping": "random", "reorder_ratio": 0.7}),
        ("iclrec", "paper", {"loss": "bce", "grouping": "random", "mask_same_intent": True}),
        ("iclrec", "code", {"loss": "bce", "grouping": "random", "mask_same_intent": False, "restarts": 5}),
        ("srma", "paper", {"loss": "bce", "grouping": "random", "complement": "states"}),
        ("srma", "code", {"loss": "bce", "grouping": "random", "complement": "contrast", "layer_choice": "same"}),
    ],
)
def test_presets_hold_what_paper_and_code_have(name, preset, wanted):
    held = methods.with_defaults(name, {"preset": preset})
    assert {key: held[key] for key in wanted} == wanted


def of_mean_length(mean, n_users=10):
    counts = np.array([0, mean * n_users // 2, mean * n_users - mean * n_users // 2, 0])
    return Catalog(np.array([1, 2]), train_counts=counts, n_users=n_users)


@pytest.mark.parametrize(("mean", "length", "dropout"), [(0, 50, 0.5), (74, 50, 0.5), (75, 200, 0.2)])
def test_loom_reads_more_of_long_histories_with_less_dropout(mean, length, dropout):
    catalog = of_mean_length(mean)
    for given in ({}, {"length": 30}, {"dropout": 0.3}):
        encoder = methods.build("loom", catalog, dim=8, **given)[0].method.backbone.encoder
        assert encoder.length == given.get("length", length)
        assert encoder.dropout == encoder.blocks[0].attention.attention.dropout == given.get("dropout", dropout)


def test_loom_s_recipes_have_what_it_chooses_for_their_data(real_data):
    for file in sorted(ROOT.glob("recipes/*/loom.toml")):
        recipe = read_recipes(file)[0]
        assert set(recipe.numbers) == {"length", "dropout", "attention_dropout"}, "loom as it comes"
        encoder = methods.build("loom", read_data(real_data, recipe.dataset).catalog)[0].method.backbone.encoder
        chosen = {"length": encoder.length, "dropout": encoder.dropout}
        chosen["attention_dropout"] = encoder.blocks[0].attention.attention.dropout
        assert chosen == recipe.numbers, recipe.dataset
