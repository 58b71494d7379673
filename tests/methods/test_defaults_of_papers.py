"""What baselines do by default that no small example shows: windows they train on, numbers of their papers."""

import pytest

from recloom import methods
from recloom.data.windows import sliding


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
    ],
)
def test_numbers_of_the_papers_are_the_defaults(name, wanted):
    """For HGN and its decay see its departures; for BERT4Rec the authors' settings for Beauty."""
    arguments = methods.arguments(name)
    for key, value in wanted.items():
        assert arguments[key] == (pytest.approx(value) if isinstance(value, float) else value), key
