"""Every next-item loss against a slow float64 reference written from its paper."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.errors import InputError
from recloom.objectives import (
    NextItem,
    bayesian_personalised_ranking,
    binary_cross_entropy,
    full_softmax,
    generalised_binary_cross_entropy,
    in_batch_softmax,
    sampled_softmax,
)
from recloom.objectives.intents import sequence_to_item
from recloom.objectives.next_item import LOSSES
from recloom.objectives.supervised_contrast import supervised_contrast

N, DIM, ITEMS, K = 37, 8, 23, 5

SAMPLED = {"negatives": 5, "shared_negatives": True, "sampler": "popularity", "alpha": 0.5}


@pytest.fixture
def parts():
    draw = torch.Generator().manual_seed(0)
    states = torch.randn(N, DIM, generator=draw, dtype=torch.float64, requires_grad=True)
    table = torch.randn(ITEMS + 2, DIM, generator=draw, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(1, ITEMS + 1, (N,), generator=draw)
    negatives = torch.randint(1, ITEMS + 1, (N, K), generator=draw)
    return states, table, targets, negatives


def sigma(x):
    return 1 / (1 + math.exp(-x))


def test_full_softmax_equals_the_double_loop(parts):
    states, table, targets, _ = parts
    s, e = states.detach().numpy(), table.detach().numpy()
    slow = 0.0
    for n in range(N):
        scores = [float(s[n] @ e[i]) for i in range(1, ITEMS + 1)]
        slow -= scores[int(targets[n]) - 1] - math.log(sum(math.exp(x) for x in scores))
    assert full_softmax(states, table, targets).item() == pytest.approx(slow / N, rel=1e-6)


@pytest.mark.parametrize("rows_at_once", [16, 20, 64])
def test_full_softmax_gradients_equal_autograds_however_it_is_chunked(parts, rows_at_once, monkeypatch):
    states, table, targets, _ = parts
    monkeypatch.setattr("recloom.objectives.chunks.LOGITS_PER_CHUNK", rows_at_once * ITEMS)
    got = torch.autograd.grad(3 * full_softmax(states, table, targets), [states, table])
    plain = torch.nn.functional.cross_entropy(states @ table[1:-1].t(), targets - 1)
    for mine, theirs in zip(got, torch.autograd.grad(3 * plain, [states, table]), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
    assert got[1][0].abs().sum() == 0 and got[1][-1].abs().sum() == 0, "padding and mask must not learn"


def test_full_softmax_in_bf16_stays_within_its_rounding(parts):
    states, table, targets = (x.detach().float().requires_grad_(x.is_floating_point()) if x.is_floating_point() else x
                              for x in parts[:3])  # fmt: skip
    exact = full_softmax(states, table, targets)
    low = full_softmax(states, table, targets, torch.bfloat16)
    assert low.item() == pytest.approx(exact.item(), rel=2e-2)
    one, two = (torch.autograd.grad(loss, table)[0] for loss in (exact, low))
    assert torch.nn.functional.cosine_similarity(one.flatten(), two.flatten(), 0) > 0.999


def test_full_softmax_survives_extreme_scores_and_no_targets(parts):
    states, table, targets, _ = parts
    loss = full_softmax((states * 1e3).float(), table.float(), targets)
    loss.backward()
    assert math.isfinite(loss.item()) and torch.isfinite(states.grad).all()
    assert full_softmax(states[:0], table, targets[:0]).item() == 0


def test_untrained_scores_cost_the_logarithm_of_the_catalogue():
    loss = full_softmax(torch.zeros(4, DIM), torch.randn(ITEMS + 2, DIM), torch.arange(1, 5))
    assert loss.item() == pytest.approx(math.log(ITEMS), rel=1e-6)


def test_sampled_softmax_equals_the_loop(parts):
    states, table, targets, negatives = (part.detach() for part in parts)
    log_q = torch.log(torch.linspace(0.01, 0.2, ITEMS + 2, dtype=torch.float64))
    slow = 0.0
    for n in range(N):
        score = [float(states[n] @ table[i]) for i in range(ITEMS + 2)]
        good = math.exp(score[targets[n]])
        bad = sum(
            math.exp(score[j] - float(log_q[j]) - math.log(K)) for j in negatives[n].tolist() if j != int(targets[n])
        )
        slow -= math.log(good / (good + bad))
    assert sampled_softmax(states, table, targets, negatives, log_q).item() == pytest.approx(slow / N, rel=1e-9)


def test_logq_correction_makes_sampling_approach_the_full_softmax(parts):
    states, table, targets, _ = parts
    chances = torch.linspace(1, 5, ITEMS, dtype=torch.float64)
    chances = torch.cat([torch.zeros(1), chances / chances.sum(), torch.zeros(1)])
    drawn = torch.multinomial(chances, 20_000, replacement=True, generator=torch.Generator().manual_seed(1))[None]
    exact = full_softmax(states, table, targets).item()
    corrected = sampled_softmax(states, table, targets, drawn, chances.log()).item()
    plain = sampled_softmax(states, table, targets, drawn).item()
    assert abs(corrected - exact) < 0.15 < abs(plain - exact)


@pytest.mark.parametrize("masked", [True, False])
def test_in_batch_softmax_equals_the_loop(parts, masked):
    states, table, targets, _ = (part.detach() for part in parts)
    assert len(targets.unique()) < N, "some targets come twice"
    slow = 0.0
    for n in range(N):
        score = [math.exp(float(states[n] @ table[targets[m]])) for m in range(N)]
        others = sum(score[m] for m in range(N) if m != n and not (masked and targets[m] == targets[n]))
        slow -= math.log(score[n] / (score[n] + others))
    assert in_batch_softmax(states, table, targets, masked).item() == pytest.approx(slow / N, rel=1e-9)


@pytest.mark.parametrize("masked", [True, False])
def test_methods_hand_on_whether_same_targets_are_masked(parts, cycle, masked):
    states, table, targets, _ = parts
    batch = SequenceBatch(torch.zeros(N, dtype=torch.int64), targets[:, None], targets[:, None])
    numbers = {} if masked else {"mask_same_target": False}
    built = methods.build("sasrec", cycle.catalog, dim=8, loss="in-batch-softmax", **numbers)[0].method.next_item
    for objective in (NextItem("in-batch-softmax", **numbers), built):
        found = objective(states[:, None], table, batch, torch.Generator())
        torch.testing.assert_close(found, in_batch_softmax(states, table, targets, masked))


def test_in_batch_softmax_sums_in_fp32_under_mixed_precision(parts):
    states, table, targets, _ = (part.detach() for part in parts)
    many = targets.repeat(40)
    with torch.autocast("cpu", torch.bfloat16):
        found = in_batch_softmax(states.float().repeat(40, 1), table.float(), many, False)
    scores = (states.bfloat16() @ table.bfloat16().t()).double()[:, targets].repeat(1, 40)
    own = scores[torch.arange(N), torch.arange(N)]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), (scores.logsumexp(1) - own).mean(), rtol=1e-5, atol=0)


def test_in_batch_softmax_of_nothing_is_zero(parts):
    states, table, targets, _ = parts
    assert in_batch_softmax(states[:0], table, targets[:0]).item() == 0


def test_in_batch_softmax_is_dssrecs_equation_of_one_intent(parts):
    states, table, targets, _ = parts
    batch = SequenceBatch(torch.zeros(N, dtype=torch.int64), targets[:, None], targets[:, None])
    objective = NextItem("in-batch-softmax", mask_same_target=False, temperature=DIM**0.5)
    mine = objective(states[:, None], table, batch, torch.Generator())
    theirs = sequence_to_item(states[:, None], F.embedding(targets, table)).mean()
    torch.testing.assert_close(mine, theirs)
    for one, two in zip(*(torch.autograd.grad(x, [states, table]) for x in (mine, theirs)), strict=True):
        torch.testing.assert_close(one, two)


def test_binary_losses_equal_the_loop(parts):
    states, table, targets, negatives = (part.detach() for part in parts)
    bce = gbce = bpr = 0.0
    alpha = K / (ITEMS - 1)
    beta = alpha * (0.75 * (1 - 1 / alpha) + 1 / alpha)
    for n in range(N):
        good = float(states[n] @ table[targets[n]])
        bad = [float(states[n] @ table[j]) for j in negatives[n].tolist() if j != int(targets[n])]
        against = sum(math.log(1 - sigma(x)) for x in bad)
        bce -= math.log(sigma(good)) + against
        gbce -= (math.log(sigma(good) ** beta) + against) / (K + 1)
        bpr -= sum(math.log(sigma(good - x)) for x in bad) / max(1, len(bad))
    assert binary_cross_entropy(states, table, targets, negatives).item() == pytest.approx(bce / N, rel=1e-9)
    assert generalised_binary_cross_entropy(states, table, targets, negatives).item() == pytest.approx(gbce / N)
    assert bayesian_personalised_ranking(states, table, targets, negatives).item() == pytest.approx(bpr / N)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss not in ("softmax", "in-batch-softmax")])
def test_a_target_drawn_as_a_negative_is_not_pushed_down(parts, loss):
    states, table, _, _ = parts
    batch = SequenceBatch(torch.zeros(1, dtype=torch.int64), torch.tensor([[1]]), torch.tensor([[2]]))
    objective = NextItem(
        loss, negatives=400, shared_negatives=True, sampler="popularity", counts=torch.eye(ITEMS + 2)[2]
    )
    given = states[:1, None].detach().requires_grad_()
    objective(given, table.detach(), batch, torch.Generator().manual_seed(0)).backward()
    assert float(given.grad[0, 0] @ table[2].detach()) <= 0


def test_gbce_with_calibration_zero_is_bce_divided_by_its_terms(parts):
    states, table, targets, negatives = parts
    plain = binary_cross_entropy(states, table, targets, negatives) / (K + 1)
    none = generalised_binary_cross_entropy(states, table, targets, negatives, calibration=0.0)
    torch.testing.assert_close(none, plain)


def test_binary_losses_do_not_overflow():
    states, table = torch.full((2, 1), 500.0), torch.tensor([[0.0], [1.0], [-1.0], [0.0]])
    targets, negatives = torch.tensor([2, 2]), torch.tensor([[1], [1]])
    for loss in (binary_cross_entropy, generalised_binary_cross_entropy, bayesian_personalised_ranking):
        assert math.isfinite(loss(states, table, targets, negatives).item())


def test_shared_and_own_negatives_agree(parts):
    states, table, targets, negatives = parts
    shared = negatives[:1]
    for loss in (binary_cross_entropy, bayesian_personalised_ranking, sampled_softmax):
        torch.testing.assert_close(
            loss(states, table, targets, shared), loss(states, table, targets, shared.expand(N, -1).contiguous())
        )


@pytest.mark.parametrize("loss", LOSSES)
def test_only_positions_with_a_target_count(loss):
    draw = torch.Generator().manual_seed(3)
    items = torch.tensor([[3, 4, 5], [6, 7, 0]])
    batch = SequenceBatch(torch.arange(2), items, torch.tensor([[4, 0, 6], [7, 8, 0]]))
    states = torch.randn(2, 3, DIM, generator=draw, requires_grad=True)
    table = torch.randn(ITEMS + 2, DIM, generator=draw)
    NextItem(loss, precision="fp32")(states, table, batch, draw).backward()
    silent = states.grad.abs().sum(-1) == 0
    assert silent.tolist() == [[False, True, False], [False, False, True]]


def test_with_cosine_logits_a_history_asks_on_the_unit_sphere(cycle):
    torch.manual_seed(0)
    method = methods.build("sasrec", cycle.catalog, dim=8, length=8, logits="cosine", temperature=0.2)[0].method.eval()
    batch = SequenceBatch(torch.arange(2), torch.tensor([[3, 4, 5], [7, 0, 0]]))
    states, table = method.backbone.last(batch.items), method.backbone.items.table()
    wanted = F.cosine_similarity(states[:, None], table[None, 1:-1], -1) / 0.2
    torch.testing.assert_close(method.score(batch, torch.arange(1, 31)), wanted)
    torch.testing.assert_close(method.queries(batch)[:, 0] @ method.catalogue()[1:-1].t(), wanted)


@pytest.mark.parametrize("contrast", [{}, {"contrast_weight": 0.3}])
def test_a_learned_temperature_is_a_parameter_of_the_loss_that_serves_too(cycle, contrast):
    torch.manual_seed(0)
    numbers = {"dim": 8, "length": 8, "dropout": 0.0, "attention_dropout": 0.0, "precision": "fp32", **contrast}
    cosine = {"logits": "cosine", "temperature": 0.2, "learned_temperature": True}
    method = methods.build("loom", cycle.catalog, **numbers, **cosine)[0].method
    batch = SequenceBatch(torch.arange(1), torch.tensor([[3, 4, 5]]), torch.tensor([[4, 5, 6]]))
    assert method.log_temperature.exp().item() == pytest.approx(0.2)
    torch.nn.utils.vector_to_parameters(torch.randn(sum(p.numel() for p in method.parameters())), method.parameters())
    with torch.no_grad():
        method.log_temperature.fill_(math.log(0.5))

    def loss():
        return method.training_step(batch, 0)

    states, table = method.backbone(batch.items)[0], method.backbone.items.table()[1:-1]
    logits = F.cosine_similarity(states[:, None], table[None], -1)
    if not contrast:
        torch.testing.assert_close(loss(), F.cross_entropy(logits / 0.5, batch.targets[0] - 1))
    loss().backward()
    chances = (logits / 0.5).softmax(-1)
    slope = (logits[range(3), batch.targets[0] - 1] - (chances * logits).sum(1)) / 0.5
    torch.testing.assert_close(method.log_temperature.grad, slope.mean(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(method.eval().queries(batch)[0, 0].norm(), torch.tensor(1 / 0.5))


def test_the_contrast_of_states_is_added_with_its_weight(cycle):
    torch.manual_seed(0)
    numbers = {"dim": 8, "length": 8, "dropout": 0.0, "attention_dropout": 0.0, "precision": "fp32"}
    method = methods.build("loom", cycle.catalog, contrast_weight=0.3, contrast_temperature=0.2, **numbers)[0].method
    items = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 0]])
    batch = SequenceBatch(torch.arange(2), items, torch.tensor([[4, 5, 6, 5], [6, 9, 5, 0]]))
    states, real = method.backbone(items), batch.targets != 0
    plain = method.next_item(states, method.backbone.items.table(), batch, method.generator)
    contrast = supervised_contrast(states[real], batch.targets[real], 0.2)
    assert contrast > 0
    torch.testing.assert_close(method.training_step(batch, 0), plain + 0.3 * contrast)


def test_last_states_under_two_draws_of_dropout_are_contrasted_with_their_weight(cycle):
    numbers = {"dim": 8, "length": 8, "dropout": 0.5, "attention_dropout": 0.0, "precision": "fp32"}
    method = methods.build("loom", cycle.catalog, views_weight=0.3, contrast_temperature=0.2, **numbers)[0].method
    items = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 0], [2, 0, 0, 0]])
    batch = SequenceBatch(torch.arange(3), items, torch.tensor([[4, 5, 6, 5], [6, 9, 5, 0], [3, 0, 0, 0]]))
    torch.manual_seed(1)
    loss = method.training_step(batch, 0)
    torch.manual_seed(1)
    states = method.backbone(items)
    plain = method.next_item(states[batch.targets != 0], method.backbone.items.table(), batch, method.generator)
    views = torch.cat([states[range(3), [3, 2, 0]], method.backbone.last(items)]).tolist()
    assert views[0] != views[3], "the second draw is another one"

    def likeness(one, two):
        return math.exp(F.cosine_similarity(torch.tensor(one), torch.tensor(two), 0).item() / 0.2)

    shares = [
        likeness(view, views[(at + 3) % 6])
        / sum(likeness(view, other) for place, other in enumerate(views) if place != at)
        for at, view in enumerate(views)
    ]
    contrast = sum(-math.log(share) for share in shares) / 6
    assert contrast > 0.1
    assert loss.item() == pytest.approx(plain.item() + 0.3 * contrast, rel=1e-4)


def test_loom_s_items_carry_their_attributes_on_both_sides(cycle_with_attributes):
    def made(**numbers):
        torch.manual_seed(0)
        return methods.build("loom", cycle_with_attributes.catalog, dim=8, length=8, **numbers)[0].method.backbone.items

    items, ids = made().eval(), torch.arange(1, 31)
    own, pooled = items.ids(ids), items.attributes(ids)
    assert pooled.abs().max() > 0
    torch.testing.assert_close(items(ids), own + pooled)
    torch.testing.assert_close(items.table()[ids], own + pooled)
    alone = made(attributes=False)
    assert torch.equal(alone.table(), alone.weight)
    for name in ("attribute_dropout", "id_dropout"):
        numbers = {"attribute_dropout": 0.0, "id_dropout": 0.0}
        still, drawn = made(**numbers).train(), made(**{**numbers, name: 0.5}).train()
        assert torch.equal(still.table(), still.table()) and not torch.equal(drawn.table(), drawn.table())
        assert torch.equal(still(ids), still(ids)) and not torch.equal(drawn(ids), drawn(ids))


def test_cosine_logits_ignore_lengths_and_temperature_divides():
    batch = SequenceBatch(torch.arange(2), torch.tensor([[1], [2]]), torch.tensor([[3], [4]]))
    states, table = torch.randn(2, 1, DIM), torch.randn(ITEMS + 2, DIM)
    draw = torch.Generator()
    cosine = NextItem(logits="cosine", temperature=0.1, precision="fp32")
    torch.testing.assert_close(cosine(states, table, batch, draw), cosine(5 * states, 3 * table, batch, draw))
    half = NextItem(temperature=2.0, precision="fp32")(states, table, batch, draw)
    torch.testing.assert_close(half, NextItem(precision="fp32")(states / 2, table, batch, draw))


def test_a_temperature_is_learned_of_cosines_alone(cycle):
    with pytest.raises(InputError, match="needs logits='cosine'"):
        methods.build("sasrec", cycle.catalog, learned_temperature=True)


def test_popularity_negatives_follow_their_counts():
    counts = torch.tensor([0, 10, 20, 30, 40, 0])
    objective = NextItem(
        "sampled-softmax", negatives=50_000, shared_negatives=True, sampler="popularity", counts=counts
    )
    batch = SequenceBatch(torch.arange(1), torch.tensor([[1]]), torch.tensor([[2]]))
    drawn, log_q = objective._draw(batch, torch.tensor([0]), 4, torch.Generator().manual_seed(0))
    share = np.bincount(drawn[0].numpy(), minlength=6) / 50_000
    np.testing.assert_allclose(share, counts / 100, atol=0.01)
    np.testing.assert_allclose(log_q.exp().numpy(), counts / 100, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "hinge"},
        {"sampler": "recent"},
        {"sampler": "popularity"},
        {"negatives": 0},
        {"temperature": 0.0},
        {"precision": "fp8"},
        {"logits": "euclid"},
    ],
)
def test_impossible_numbers_are_refused_by_name(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        NextItem(**wrong)


@pytest.mark.parametrize(
    "numbers",
    [
        {"calibration": 0.5},
        {"calibration": 0.5, "loss": "bce"},
        *({name: value, "loss": "in-batch-softmax"} for name, value in SAMPLED.items()),
        *({name: value, "loss": "softmax"} for name, value in SAMPLED.items()),
        {"calibration": 0.5, "loss": "in-batch-softmax"},
    ],
)
def test_numbers_that_the_loss_does_not_read_are_refused(numbers):
    with pytest.raises(InputError, match=rf"{next(iter(numbers))}=\S+ has no effect: loss="):
        NextItem(**numbers)
    shared = {"shared_negatives": True} if "sampler" in numbers else {}
    NextItem(**{**numbers, "loss": "gbce"}, **shared)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "in-batch-softmax"])
def test_same_targets_belong_to_the_in_batch_softmax_alone(loss):
    with pytest.raises(InputError, match=r"mask_same_target=False has no effect: loss="):
        NextItem(loss, mask_same_target=False)


def test_the_softmax_trains_on_after_one_in_inference_mode(parts):
    states, table, targets, _ = parts
    with torch.inference_mode():
        validated = full_softmax(states, table, targets)
    torch.testing.assert_close(full_softmax(states, table, targets), validated)


def test_label_smoothing_equals_pytorchs(parts):
    states, table, targets, _ = parts
    batch = SequenceBatch(torch.zeros(N, dtype=torch.int64), targets[:, None], targets[:, None])
    smooth = NextItem(label_smoothing=0.2, precision="fp32")(states, table, batch, torch.Generator())
    plain = torch.nn.functional.cross_entropy(states @ table[1:-1].t(), targets - 1, label_smoothing=0.2)
    torch.testing.assert_close(smooth, plain)
    for mine, theirs in zip(*(torch.autograd.grad(x, [states, table]) for x in (smooth, plain)), strict=True):
        torch.testing.assert_close(mine, theirs)
    with pytest.raises(InputError, match=r"label_smoothing=1\.0"):
        NextItem(label_smoothing=1.0)
    for loss in LOSSES[1:]:
        with pytest.raises(InputError, match=r"label_smoothing=0\.1: only loss='softmax'"):
            NextItem(loss, label_smoothing=0.1)


def test_supervised_contrast_equals_the_double_loop():
    draw = torch.Generator().manual_seed(1)
    states = torch.randn(9, 4, generator=draw, dtype=torch.float64)
    targets = torch.tensor([3, 5, 3, 7, 5, 3, 9, 8, 5])
    unit = (states / states.norm(dim=1, keepdim=True)).tolist()
    losses = []
    for i in range(9):
        weight = [math.exp(sum(a * b for a, b in zip(unit[i], unit[j], strict=True)) / 0.1) for j in range(9)]
        same = [j for j in range(9) if j != i and targets[j] == targets[i]]
        if same:
            others = sum(weight) - weight[i]
            losses.append(-sum(math.log(weight[j] / others) for j in same) / len(same))
    assert len(losses) == 6
    assert supervised_contrast(states, targets, 0.1).item() == pytest.approx(sum(losses) / 6)
    assert supervised_contrast(states, torch.arange(9), 0.1).item() == 0, "nobody has a partner"


def test_the_item_table_learns_as_input_and_as_output(cycle):
    method = methods.build("sasrec", cycle.catalog, dim=8, length=10, dropout=0.0, precision="fp32")[0].method
    items, table = torch.tensor([[3, 4, 5, 6], [9, 10, 0, 0]]), method.backbone.items.table()
    batch = SequenceBatch(torch.arange(2), items, torch.tensor([[4, 5, 6, 7], [10, 11, 0, 0]]))
    states = method.backbone(items)

    def gradient(states, table):
        loss = method.next_item(states, table, batch, method.generator)
        return torch.autograd.grad(loss, method.backbone.items.weight, retain_graph=True)[0]

    read, asked = gradient(states, table.detach()), gradient(states.detach(), table)
    assert read[[3, 4, 5, 6, 9, 10]].any(1).all() and not read[11:].any() and asked[1:-1].any(1).all()
    torch.testing.assert_close(gradient(states, table), read + asked)
