"""How a build takes over the arguments of its parts."""

import inspect
from functools import partial

import pytest

from recloom import methods
from recloom.errors import InputError
from recloom.methods.composition import composed, with_presets
from recloom.training import Schedule, WindowsSchedule


def make(catalog, *, dim=4, extra=1):
    return catalog, dim, extra


def test_parts_arrive_filled_in_and_their_arguments_are_the_build_s():
    @composed(hidden=("extra",), backbone=make, training=partial(Schedule, epochs=7))
    def build(catalog, backbone, training, *, own=2):
        """Text."""
        return backbone(catalog), training, own

    names = inspect.signature(build).parameters
    assert list(names) == [
        "catalog",
        "own",
        "dim",
        "lr",
        "weight_decay",
        "batch_size",
        "epochs",
        "patience",
        "valid_metric",
        "valid_protocol",
        "averaging",
        "seen_items",
    ]
    assert names["epochs"].default == 7 and build.__doc__ == "Text."
    assert all(p.kind is p.KEYWORD_ONLY for name, p in names.items() if name != "catalog")
    assert build("c") == (("c", 4, 1), Schedule(epochs=7), 2)
    assert build("c", dim=8, lr=0.5, own=3) == (("c", 8, 1), Schedule(lr=0.5, epochs=7), 3)
    with pytest.raises(TypeError, match="extra"):
        build("c", extra=3)


def test_a_build_may_be_a_part():
    @composed(training=Schedule)
    def inner(catalog, training, *, weight=1.0):
        return training.lr, weight

    @composed(hidden=("weight",), stages=inner)
    def outer(catalog, stages):
        return stages(catalog, weight=0.0)

    assert outer(None, lr=0.2) == (0.2, 0.0)
    assert "weight" not in inspect.signature(outer).parameters


def test_two_arguments_of_one_name_are_refused():
    with pytest.raises(TypeError, match="epochs"):

        @composed(one=Schedule, two=WindowsSchedule)
        def build(catalog, one, two):
            return []

    with pytest.raises(TypeError, match="dim"):

        @composed(backbone=make)
        def other(catalog, backbone, *, dim=3):
            return []


def test_a_preset_gives_what_is_not_given():
    @with_presets(paper={"extra": 5, "own": 7})
    @composed(backbone=make)
    def build(catalog, backbone, *, own=2):
        return backbone(catalog), own

    assert inspect.signature(build).parameters["preset"].default is None
    assert build("c") == (("c", 4, 1), 2)
    assert build("c", preset="paper") == (("c", 4, 5), 7)
    assert build("c", preset="paper", own=3, dim=8) == (("c", 8, 5), 3)
    with pytest.raises(InputError, match="preset='code' is not known; choose one of paper"):
        build("c", preset="code")
    with pytest.raises(TypeError, match="least"):
        with_presets(paper={"least": 1})(build)


@pytest.mark.parametrize("name", [name for name in methods.METHODS if hasattr(methods.METHODS[name], "presets")])
def test_what_a_preset_holds_is_recorded_and_explained(name, cycle):
    assert set(methods.METHODS[name].presets) == {"paper", "code"}
    for preset, held in methods.METHODS[name].presets.items():
        found = methods.with_defaults(name, {"preset": preset, "dim": 8})
        assert held.items() <= found.items() and found["dim"] == 8
        assert methods.build(name, cycle.catalog, **found), "what is recorded builds the same again"
        assert f"preset={preset!r}: " in methods.explain(name)
        key = next(iter(held))
        assert methods.with_defaults(name, {"preset": preset, key: "own"})[key] == "own"
    with pytest.raises(InputError, match="preset='other' is not known; choose one of"):
        methods.with_defaults(name, {"preset": "other"})
