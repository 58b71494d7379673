"""Every argument of every method is explained where the code that takes it stands."""

from functools import partial

import pytest

from recloom.methods import METHODS, arguments
from recloom.methods.argument_texts import argument_texts
from recloom.methods.composition import composed


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_has_a_text_of_its_own(name):
    texts = argument_texts(METHODS[name])
    assert [key for key in arguments(name) if not texts.get(key)] == []
    assert [text for text in texts.values() if not text.endswith((".", "?"))] == []


class Base:
    """What parts share.

    Args:
        size: of the base,
            told on two lines.
    """


class Part(Base):
    """A part; see `reader`.

    Args:
        rate, pace: of the part.

    Raises:
        size: is no argument.
    """

    def __init__(self, *, rate: float = 0.1, pace: int = 1, size: int = 2, depth: int = 3) -> None: ...


def reader() -> None:
    """Mentioned.

    Args:
        depth: of the reader.
        rate: not the part's.
    """


@composed(part=partial(Part, rate=0.2))
def build(catalog, part, *, own=1):
    """Something.

    Args:
        own: its own: with a colon.
    """


def test_the_first_that_explains_an_argument_counts():
    assert argument_texts(build) == {
        "own": "its own: with a colon.",
        "rate": "of the part.",
        "pace": "of the part.",
        "size": "of the base, told on two lines.",
        "depth": "of the reader.",
    }
