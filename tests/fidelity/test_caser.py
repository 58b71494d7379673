"""Caser's filters by loops over one image at a time, and its targets."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import recloom
from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.data.module import window_batch
from recloom.data.sequences import Sequences
from recloom.encoders import Convolutional
from recloom.errors import InputError

L, D = 4, 6


def encoder():
    torch.manual_seed(0)
    found = Convolutional(D, recent=L, horizontal=3, vertical=2, dropout=0.0, length=9).double()
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    return found


def slow(encoder, image):
    """The state of one image, `(L, D)`."""
    out = []
    for height, convolution in enumerate(encoder.horizontal, 1):
        for weight, bias in zip(convolution.weight, convolution.bias, strict=True):
            values = [
                F.relu((weight.t() * image[start : start + height]).sum() + bias) for start in range(L - height + 1)
            ]
            out.append(max(values))
    for weight, bias in zip(encoder.vertical.weight, encoder.vertical.bias, strict=True):
        out += list((weight[:, None] * image).sum(0) + bias)
    assert len(out) == 3 * L + 2 * D
    return F.relu(encoder.join(torch.stack(out)))


def test_every_position_is_its_own_image():
    convolutions, rows = encoder(), torch.randn(2, 7, D).double()
    valid = torch.arange(7) < torch.tensor([[7], [2]])
    found = convolutions(rows, valid)
    assert found.shape == (2, 7, D)
    for row, length in ((0, 7), (1, 2)):
        for at in range(length):
            image = torch.zeros(L, D).double()
            seen = rows[row, max(0, at + 1 - L) : at + 1]
            image[L - len(seen) :] = seen
            torch.testing.assert_close(found[row, at], slow(convolutions, image))
    torch.testing.assert_close(convolutions.last(rows, valid), torch.stack([found[0, 6], found[1, 1]]))


def test_only_the_horizontal_part_forgets_where_a_motif_stood():
    convolutions = encoder()
    motif, valid = torch.randn(2, D).double(), torch.ones(1, L, dtype=torch.bool)
    early, late = torch.zeros(1, L, D).double(), torch.zeros(1, L, D).double()
    early[0, :2], late[0, 2:] = motif, motif
    with torch.no_grad():
        for convolution in convolutions.horizontal:
            convolution.bias.zero_()
        assert not torch.allclose(convolutions(early, valid)[:, -1], convolutions(late, valid)[:, -1])
        convolutions.vertical.weight.zero_()
        for convolution in convolutions.horizontal[1:]:  # a window of one item alone looks the same at any place
            convolution.weight.zero_()
        torch.testing.assert_close(convolutions(early, valid)[:, -1], convolutions(late, valid)[:, -1])


def make(catalog, **numbers):
    torch.manual_seed(0)
    return methods.build("caser", catalog, **{"dim": D, "recent": L, "length": 9, "dropout": 0.0, **numbers})[0].method


def test_a_state_predicts_the_next_targets_and_no_more(cycle):
    method = make(cycle.catalog, loss="softmax", targets=2, precision="fp32")
    items, targets = torch.tensor([[3, 8, 2], [6, 0, 0]]), torch.tensor([[8, 2, 5], [1, 0, 0]])
    batch = SequenceBatch(torch.tensor([4, 0]), items, targets)
    states, table = method.backbone(items), method.catalogue()[1:-1]
    terms = {0: [], 1: []}
    for ahead, row, at, target in ((0, 0, 0, 8), (0, 0, 1, 2), (0, 0, 2, 5), (0, 1, 0, 1), (1, 0, 0, 2), (1, 0, 1, 5)):
        asked = torch.cat([states[row, at], method.users.weight[batch.users[row]], torch.ones(1)])
        terms[ahead].append(F.cross_entropy(table @ asked, torch.tensor(target - 1)))
    wanted = torch.stack([*terms[0], *terms[1]]).mean()  # each pair of a position and a target counts the same
    torch.testing.assert_close(method.training_step(batch, 0), wanted)


def test_by_default_one_negative_a_target_by_bce(cycle, monkeypatch):
    method = make(cycle.catalog, targets=1)
    batch = SequenceBatch(torch.tensor([4]), torch.tensor([[3, 8]]), torch.tensor([[8, 2]]))
    monkeypatch.setattr(
        "recloom.objectives.next_item.uniform_outside", lambda rows, shape, n, draw: torch.tensor([[[20], [21]]])
    )
    states, table, losses = method.backbone(batch.items)[0], method.catalogue(), []
    for at, good, bad in ((0, 8, 20), (1, 2, 21)):
        asked = torch.cat([states[at], method.users.weight[4], torch.ones(1)])
        losses.append(-torch.sigmoid(table[good] @ asked).log() - (1 - torch.sigmoid(table[bad] @ asked)).log())
    torch.testing.assert_close(method.training_step(batch, 0), torch.stack(losses).mean())


def test_the_user_and_the_bias_count(cycle):
    method = make(cycle.catalog)
    one, two = (
        method.score(SequenceBatch(torch.tensor([u]), torch.tensor([[3, 8]])), torch.arange(1, 31)) for u in (1, 2)
    )
    assert not torch.allclose(one, two)
    with torch.no_grad():
        method.bias[7] += 5
    more = method.score(SequenceBatch(torch.tensor([1]), torch.tensor([[3, 8]])), torch.arange(1, 31))
    torch.testing.assert_close((more - one)[0], F.one_hot(torch.tensor(6), 30) * 5.0)


def windows_of_the_authors(history, n_read, n_targets):
    """What the authors' code makes of one history: pairs of what is read and what is predicted."""
    size = n_read + n_targets
    cuts = [history[start : start + size] for start in range(len(history) - size + 1)] or [history]
    pairs = [(cut[:-n_targets][-n_read:], cut[-n_targets:]) for cut in cuts]
    return [(read, asked) for read, asked in pairs if read and len(asked) == n_targets]


@pytest.mark.parametrize("name", ["caser", "hgn"])
def test_full_windows_that_no_history_has_are_refused(cycle, name):
    with pytest.raises(InputError, match=r"targets=9 with full_windows=True: .* the longest has 7"):
        recloom.train(name, cycle, progress=False, dim=D, full_windows=True, targets=9, epochs=1)


@pytest.mark.parametrize("name", ["caser", "hgn"])
@pytest.mark.parametrize("length", [3, 4, 5, 6, 7, 9])
def test_full_windows_are_those_of_the_authors(cycle, name, length):
    """Four items are read and two predicted: no window, one of a short history, one full, several."""
    numbers = {"dim": D, "recent": L, "length": 9, "targets": 2, "full_windows": True, "loss": "softmax"}
    extra = {"dropout": 0.0} if name == "caser" else {}
    torch.manual_seed(0)
    method = methods.build(name, cycle.catalog, precision="fp32", **numbers, **extra)[0].method
    history = list(range(3, 3 + length))
    other = [20, 21]  # too short for a window; it must add nothing
    rows = torch.tensor([history[:-1], other[:-1] + [0] * (length - 2)])
    targets = torch.tensor([history[1:], other[1:] + [0] * (length - 2)])
    loss = method.training_step(SequenceBatch(torch.tensor([4, 2]), rows, targets), 0)
    terms, table = [], method.catalogue()[1:-1]
    for read, asked in windows_of_the_authors(history, L, 2):
        query = method.queries(SequenceBatch(torch.tensor([4]), torch.tensor([read])))[0, 0]
        terms += [F.cross_entropy(table @ query, torch.tensor(item - 1)) for item in asked]
    torch.testing.assert_close(loss, torch.stack(terms).mean() if terms else torch.tensor(0.0))


@pytest.mark.parametrize("name", ["caser", "hgn"])
@pytest.mark.parametrize("length", [5, 6, 9, 14])
@pytest.mark.parametrize("actions", [10, 11, 14, 15, 30])
def test_full_windows_of_a_history_longer_than_a_row_are_asked_for_once(cycle, name, length, actions):
    numbers = {"dim": D, "recent": L, "length": length, "targets": 2, "full_windows": True, "loss": "softmax"}
    extra = {"dropout": 0.0} if name == "caser" else {}
    torch.manual_seed(0)
    stage = methods.build(name, cycle.catalog, precision="fp32", **numbers, **extra)[0]
    history = np.random.default_rng(0).integers(1, 31, actions).astype(np.int32)
    cut = stage.windows(Sequences(history, np.array([0, actions])), np.array([actions]), length)
    assert (cut.lengths <= length).all()
    loss = stage.method.training_step(window_batch(history, cut, np.arange(len(cut))), 0)
    terms, table = [], stage.method.catalogue()[1:-1]
    for read, asked in windows_of_the_authors(history.tolist(), L, 2):
        query = stage.method.queries(SequenceBatch(torch.tensor([0]), torch.tensor([read])))[0, 0]
        terms += [F.cross_entropy(table @ query, torch.tensor(item - 1)) for item in asked]
    torch.testing.assert_close(loss, torch.stack(terms).mean())


@pytest.mark.parametrize("name", ["caser", "hgn"])
def test_rows_too_short_for_a_full_window_are_refused(cycle, name):
    with pytest.raises(InputError, match=r"length=6 holds no window of recent=4 items and targets=4 .* at least 7"):
        methods.build(name, cycle.catalog, dim=D, recent=4, length=6, targets=4, full_windows=True)


def test_more_targets_than_a_row_holds_are_refused(cycle):
    with pytest.raises(InputError, match=r"targets=10 must lie in 1\.\.9"):
        make(cycle.catalog, targets=10)


@pytest.mark.parametrize("name", ["recent", "horizontal", "vertical", "targets"])
def test_less_than_one_is_refused(cycle, name):
    with pytest.raises(InputError, match=f"{name}=0"):
        make(cycle.catalog, **{name: 0})


def test_no_more_items_are_read_than_a_row_holds(cycle):
    with pytest.raises(InputError, match="recent=12 reads more than the length=9"):
        make(cycle.catalog, recent=12)
