from __future__ import annotations

import numpy as np
import pytest
import torch

import recloom.evaluation.ranks as ranks_module
from recloom.errors import InputError
from recloom.evaluation import Evaluation, Evaluator, top_items


def slow_ranks(data, scores, masked, kmax=20, part="test"):
    """Ranks and sorted scores by loops over users and items; `scores` is (users, n_items + 1), column 0 unused."""
    asked, n_items, ranks, tops = getattr(data.split, part), data.catalog.n_items, [], []
    for row in range(len(asked.users)):
        seen = set(data.history(row, part)) if masked else set()
        target = int(data.sequences.items[asked.stop[row]])
        allowed = [float(scores[row, item]) for item in range(1, n_items + 1) if item not in seen]
        tops.append(sorted(allowed, reverse=True)[:kmax])
        if target in seen:
            ranks.append(max(n_items, kmax + 1))
        else:
            ranks.append(sum(score >= scores[row, target] for score in allowed))
    return np.array(ranks), tops


def run_vectors(evaluator, queries, table, batch=17, name="vectors") -> Evaluation:
    evaluator.start(table, name)
    order = np.random.default_rng(5).permutation(len(queries))
    for begin in range(0, len(order), batch):
        rows = order[begin : begin + batch]
        evaluator.add_queries(rows, queries[rows])
    return evaluator.result()


def run_scores(evaluator, scores, batch=17, name="scores") -> Evaluation:
    evaluator.start(None, name)
    for begin in range(0, len(scores), batch):
        rows = np.arange(begin, min(begin + batch, len(scores)))
        evaluator.add_scores(rows, scores[rows])
    return evaluator.result()


def whole_numbers(*shape, seed=0, low=-3, high=4):
    """Small whole numbers: products are exact, ties are frequent."""
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("n_items", [13, 50, 997])
@pytest.mark.parametrize("protocol", ["full-mask", "full-open"])
@pytest.mark.parametrize("intents", [1, 3])
@pytest.mark.parametrize("lists", [True, False])
def test_ranks_equal_brute_force(random_data, monkeypatch, n_items, protocol, intents, lists):
    monkeypatch.setitem(ranks_module.CELLS, "cpu", 5 * 1000)  # several blocks within a batch
    data = random_data(n_items=n_items) if n_items > 13 else random_data(n_items=n_items, n_users=30)
    queries = whole_numbers(len(data.split.test.users), intents, 4, seed=1)
    table = whole_numbers(n_items + 2, 4, seed=2)
    table[0], table[-1] = 1e6, 1e6  # padding and mask never compete
    scores = torch.einsum("uid,nd->uin", queries, table).amax(1).numpy()
    expected, tops = slow_ranks(data, scores, protocol == "full-mask")
    result = run_vectors(Evaluator(data, protocol=protocol, lists=lists), queries, table)
    assert result.ranks.tolist() == expected.tolist()
    assert (result.ranks == max(n_items, 21)).sum() >= (len(expected) // 4 if protocol == "full-mask" else 0)
    if not lists:
        assert result.lists is None
        return
    for row, top in enumerate(tops):
        items = result.lists[row]
        real = items[items > 0]
        assert len(set(real.tolist())) == len(real) == min(20, len(top))
        assert scores[row, real].tolist() == top[: len(real)]
        if protocol == "full-mask":
            assert not set(real.tolist()) & set(data.history(row))


@pytest.mark.parametrize("protocol", ["full-mask", "full-open"])
def test_scores_and_vectors_agree_and_scores_stay(random_data, protocol):
    data = random_data(n_items=301)
    queries, table = whole_numbers(60, 2, 4, seed=1), whole_numbers(303, 4, seed=2)
    scores = torch.einsum("uid,nd->uin", queries, table).amax(1)[:, 1:-1]
    kept = scores.clone()
    by_scores = run_scores(Evaluator(data, protocol=protocol), scores)
    by_vectors = run_vectors(Evaluator(data, protocol=protocol), queries, table)
    assert torch.equal(scores, kept)
    assert by_scores.ranks.tolist() == by_vectors.ranks.tolist()


def test_full_zero_gives_the_history_a_score_of_zero(random_data):
    data = random_data(n_items=50)
    queries, table = whole_numbers(60, 2, 4, seed=1), whole_numbers(52, 4, seed=2)
    scores = torch.einsum("uid,nd->uin", queries, table).amax(1)
    for row in range(60):
        scores[row, sorted(set(data.history(row)))] = 0.0
    expected, tops = slow_ranks(data, scores.numpy(), masked=False, kmax=40)
    result = run_vectors(Evaluator(data, protocol="full-zero", k=40), queries, table)
    assert result.ranks.tolist() == expected.tolist() and result.protocol == "full-zero"
    for row, top in enumerate(tops):
        assert scores[row, result.lists[row]].tolist() == top
    assert any(set(result.lists[row]) & set(data.history(row)) for row in range(60)), "it is not removed"
    unseen = [int(target) not in data.history(row) for row, target in enumerate(result.targets)]
    removed = run_vectors(Evaluator(data, protocol="full-mask"), queries, table)
    assert (removed.ranks <= result.ranks)[unseen].all() and (removed.ranks < result.ranks)[unseen].any()


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("n_items", [13, 50, 997])
def test_capped_ranks_agree_with_exact_ones_up_to_k(random_data, lists, n_items):
    data = random_data(n_items=n_items, n_users=30)
    queries, table = whole_numbers(30, 1, 3, seed=1, low=-9, high=9), whole_numbers(n_items + 2, 3, seed=2)
    targets = torch.from_numpy(data.sequences.items[data.split.test.stop].astype(np.int64))
    table[targets[1::3]] *= 7
    queries[1::3, 0] = table[targets[1::3]]  # these users find their target near the top
    exact = run_vectors(Evaluator(data, k=(3, 5)), queries, table)
    capped = run_vectors(Evaluator(data, k=(3, 5), exact=False, lists=lists), queries, table)
    assert capped.ranks.tolist() == np.minimum(exact.ranks, 6).tolist()
    assert (capped.ranks == 6).any() and (capped.ranks < 6).any()
    assert exact.metrics()["NDCG@5"] == capped.metrics()["NDCG@5"]
    assert "MRR" in exact.metrics() and "MRR" not in capped.metrics()


def test_validation_part_masks_its_own_input_only(make_data):
    data = make_data([[1, 2, 3, 4], [4, 3, 2, 1]], 8)
    scores = torch.arange(8.0, 0, -1).repeat(2, 1)  # item 1 best
    result = run_scores(Evaluator(data, "valid"), scores)
    assert result.targets.tolist() == [3, 2]
    assert result.ranks.tolist() == [1, 2]  # 1 and 2 removed; 4 and 3 removed, 1 remains before 2
    assert result.history_lengths.tolist() == [2, 2]


def test_oracle_scores_one_and_constant_scores_nothing(make_data):
    data = make_data([[1, 2, 3, 4 + user] for user in range(30)], 40)
    targets = data.sequences.items[data.split.test.stop].astype(np.int64)
    oracle = torch.zeros(30, 40)
    oracle[torch.arange(30), torch.from_numpy(targets - 1)] = 1
    best = run_scores(Evaluator(data), oracle).metrics()
    assert {best[name] for name in ("HR@5", "HR@20", "NDCG@5", "NDCG@20", "MRR")} == {1.0}
    for protocol in ("full-mask", "full-open"):
        worst = run_scores(Evaluator(data, protocol=protocol), torch.ones(30, 40))
        assert worst.metrics()["HR@20"] == worst.metrics()["NDCG@20"] == 0
        assert set(worst.ranks.tolist()) == {37 if protocol == "full-mask" else 40}


def test_a_removed_target_is_a_miss_even_in_a_tiny_catalogue(make_data):
    data = make_data([[1, 2, 1], [1, 2, 3]], 4)
    result = run_scores(Evaluator(data, k=(10,)), torch.tensor([[4.0, 3, 2, 1], [4.0, 3, 2, 1]]))
    assert result.metrics()["HR@10"] == 0.5
    assert result.lists[0, :3].tolist() == [3, 4, 0]
    assert run_scores(Evaluator(data, "test", "full-open", k=(10,)), torch.ones(2, 4)).ranks.tolist() == [4, 4]


def test_history_is_the_whole_input_not_what_the_method_read(make_data):
    history = list(range(1, 200))
    data = make_data([[*history, 200]], 201)
    result = run_scores(Evaluator(data), torch.arange(201.0, 0, -1)[None])
    assert result.ranks.tolist() == [1]
    assert result.lists[0, :3].tolist() == [200, 201, 0]


def test_sampled_ranks_equal_brute_force(random_data, monkeypatch):
    monkeypatch.setitem(ranks_module.CELLS, "cpu", 4 * 4 * 100 * 7)
    data = random_data(n_items=200)
    queries, table = whole_numbers(60, 3, 4, seed=1), whole_numbers(202, 4, seed=2)
    for protocol in ("sample-99", "pop-100"):
        if protocol == "pop-100":
            data.catalog.train_counts[1:-1] += 1
        evaluator = Evaluator(data, protocol=protocol)
        result = run_vectors(evaluator, queries, table)
        scores = torch.einsum("uid,nd->uin", queries, table).amax(1).numpy()
        for row, candidates in enumerate(evaluator.candidates):
            own = scores[row, candidates]
            assert result.ranks[row] == sum(own >= own[0])
        assert result.lists is None and not any(name.startswith("coverage") for name in result.metrics())
        picked = torch.from_numpy(scores).gather(1, torch.from_numpy(evaluator.candidates.astype(np.int64)))
        assert run_scores(evaluator, picked).ranks.tolist() == result.ranks.tolist()


def test_sampled_ranks_among_all_unseen_items_are_those_of_full_mask(make_data):
    draw = np.random.default_rng(0)
    data = make_data([(draw.permutation(105)[:6] + 1).tolist() for _ in range(40)], n_items=105)  # 99 and the target
    queries, table = whole_numbers(40, 1, 4, seed=1), whole_numbers(107, 4, seed=2)
    sampled, full = (run_vectors(Evaluator(data, protocol=name), queries, table) for name in ("sample-99", "full-mask"))
    assert sampled.ranks.tolist() == full.ranks.tolist()


def test_no_rank_is_worse_for_leaving_seen_items_out(random_data):
    data = random_data()
    queries, table = whole_numbers(60, 1, 4, seed=1), whole_numbers(52, 4, seed=2)
    masked, opened = (
        run_vectors(Evaluator(data, protocol=f"full-{how}"), queries, table).ranks for how in ("mask", "open")
    )
    back = np.array([int(data.sequences.items[data.split.test.stop[row]]) in data.history(row) for row in range(60)])
    assert (masked <= opened)[~back].all() and (masked < opened)[~back].any()
    assert back.any() and (masked[back] > 20).all()


@pytest.mark.parametrize(("protocol", "negatives"), [("sample-99", 99), ("pop-100", 100)])
def test_constant_scores_miss_and_random_ones_hit_by_chance(random_data, protocol, negatives):
    data = random_data(n_items=300, n_users=4000)
    data.catalog.train_counts[1:-1] += 1
    draw = torch.Generator().manual_seed(0)
    constant = run_scores(Evaluator(data, protocol=protocol), torch.zeros(4000, negatives + 1), batch=500)
    assert constant.metrics()["HR@20"] == 0
    found = run_scores(Evaluator(data, protocol=protocol), torch.rand(4000, negatives + 1, generator=draw), batch=500)
    chance = 10 / (negatives + 1)
    assert abs(found.metrics()["HR@10"] - chance) < 5 * (chance * (1 - chance) / 4000) ** 0.5


@pytest.mark.parametrize("protocol", ["full-mask", "full-open"])
def test_other_numbers_for_the_same_items_change_no_rank(make_data, protocol):
    draw = np.random.default_rng(0)
    rows = [draw.permutation(np.arange(1, 31))[: draw.integers(4, 12)].tolist() for _ in range(40)]
    order = np.concatenate([[0], 1 + draw.permutation(30), [31]])
    other = [[int(order[item]) for item in row] for row in rows]
    scores = whole_numbers(40, 32, seed=3)
    moved = torch.empty_like(scores)
    moved[:, order] = scores
    one, two = (
        run_scores(Evaluator(make_data(some, n_items=30), protocol=protocol), given[:, 1:-1])
        for some, given in ((rows, scores), (other, moved))
    )
    assert one.ranks.tolist() == two.ranks.tolist()


def test_given_candidates_are_used(random_data):
    data = random_data(n_items=200)
    table = Evaluator(data, protocol="sample-99", seed=7).candidates
    evaluator = Evaluator(data, protocol="sample-99", candidates=table)
    assert np.array_equal(evaluator.candidates, table)
    with pytest.raises(InputError, match="99 negatives"):
        Evaluator(data, protocol="sample-99", candidates=table[:, :50])
    with pytest.raises(InputError, match="ranks all items"):
        Evaluator(data, candidates=table)


def test_terms_that_are_not_finite_name_the_method(random_data):
    data = random_data()
    evaluator, rows = Evaluator(data), np.arange(2)
    evaluator.start(torch.ones(data.catalog.n_items + 2, 4), "named")
    items = torch.ones(2, 1, dtype=torch.int64)
    with pytest.raises(InputError, match="named: 1 of 2 seen-item term values are not finite"):
        evaluator.add_queries(rows, torch.ones(2, 1, 4), items, torch.tensor([[0.0], [float("nan")]]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("protocol", ["full-mask", "sample-99"])
def test_scores_that_are_not_finite_name_the_method(random_data, bad, protocol):
    data = random_data(n_items=200)
    evaluator = Evaluator(data, protocol=protocol)
    scores = torch.zeros(60, 200 if protocol == "full-mask" else 100)
    scores[3, 9] = bad
    with pytest.raises(InputError, match="broken ranker"):
        run_scores(evaluator, scores, name="broken ranker")
    queries, table = torch.ones(60, 1, 4), torch.ones(202, 4)
    queries[59, 0, 1] = bad
    with pytest.raises(InputError, match="broken query"):
        run_vectors(evaluator, queries, table, name="broken query")
    table[5, 0] = bad
    with pytest.raises(InputError, match="broken table"):
        evaluator.start(table, "broken table")


@pytest.mark.parametrize("protocol", ["full-mask", "sample-99"])
def test_products_that_overflow_name_the_method(random_data, protocol):
    data = random_data(n_items=200)
    queries, table = torch.full((60, 1, 4), 1e30), torch.ones(202, 4)
    run_vectors(Evaluator(data, protocol=protocol), queries, table)  # large and finite is fine
    table[1:-1] = -1e30
    with pytest.raises(InputError, match="too large"):
        run_vectors(Evaluator(data, protocol=protocol), queries, table, name="too large")


def test_large_finite_values_whose_sum_overflows_are_fine(random_data):
    data = random_data(n_items=200)
    assert run_scores(Evaluator(data), torch.full((60, 200), 3e38)).metrics()["HR@20"] == 0


def test_padding_and_mask_rows_may_hold_anything(random_data):
    data = random_data(n_items=200)
    table = whole_numbers(202, 4)
    table[0], table[-1] = float("nan"), float("inf")
    assert len(run_vectors(Evaluator(data), whole_numbers(60, 1, 4), table)) == 60


def test_wrong_shapes_and_missing_users_are_errors(random_data):
    data = random_data(n_items=50)
    evaluator = Evaluator(data)
    with pytest.raises(RuntimeError, match="start"):
        evaluator.add_scores(np.arange(2), torch.zeros(2, 50))
    with pytest.raises(RuntimeError, match="start"):
        evaluator.add_queries(np.arange(2), torch.zeros(2, 1, 4))
    with pytest.raises(InputError, match="52"):
        evaluator.start(torch.zeros(50, 4), "m")
    evaluator.start(torch.zeros(52, 4), "m")
    with pytest.raises(InputError, match="intents"):
        evaluator.add_queries(np.arange(2), torch.zeros(2, 4))
    with pytest.raises(InputError, match=r"\(2, 50\)"):
        evaluator.add_scores(np.arange(2), torch.zeros(2, 52))
    evaluator.add_queries(np.arange(2), torch.zeros(2, 1, 4))
    with pytest.raises(RuntimeError, match="58 of 60"):
        evaluator.result()


@pytest.mark.parametrize(
    ("change", "match"),
    [({"k": ()}, "k="), ({"k": (0, 5)}, "k="), ({"part": "train"}, "part"), ({"protocol": "x"}, "full-mask")],
)
def test_unusable_arguments_are_input_errors(random_data, change, match):
    with pytest.raises(InputError, match=match):
        Evaluator(random_data(), **change)


def test_an_empty_part_is_an_input_error(random_data):
    data = random_data()
    for name in ("users", "start", "stop", "target_stop"):
        setattr(data.split.valid, name, np.empty(0, dtype=np.int64))
    with pytest.raises(InputError, match="no users"):
        Evaluator(data, "valid")


def test_starting_anew_forgets(random_data):
    data = random_data(n_items=100)
    evaluator, table = Evaluator(data), whole_numbers(102, 4, seed=3)
    first = run_vectors(evaluator, whole_numbers(60, 1, 4, seed=1), table)
    kept = first.ranks.copy(), first.lists.copy()
    second = run_vectors(evaluator, whole_numbers(60, 1, 4, seed=2), table)
    assert np.array_equal(first.ranks, kept[0]) and np.array_equal(first.lists, kept[1])
    assert not np.array_equal(first.ranks, second.ranks)


@pytest.mark.parametrize("width", [64, 800, 801, 4000])
def test_top_items_is_topk(width):
    scores = whole_numbers(50, width, seed=4, low=0, high=30)
    scores[:, ::3] = -torch.inf
    values, columns = top_items(scores, 10)
    assert torch.equal(values, torch.topk(scores, 10).values)
    assert torch.equal(scores.gather(1, columns), values)
    assert all(len(set(row)) == 10 for row in columns.tolist())


def test_low_precision_and_gradients_are_accepted(random_data):
    data = random_data(n_items=50)
    queries = whole_numbers(60, 1, 4, seed=1)
    table = torch.nn.Parameter(whole_numbers(52, 4, seed=2))
    plain = run_vectors(Evaluator(data), queries, table)
    low = run_vectors(Evaluator(data), queries.bfloat16(), table.bfloat16())
    assert plain.ranks.tolist() == low.ranks.tolist()
    with torch.inference_mode():
        assert run_vectors(Evaluator(data), queries, table.detach()).ranks.tolist() == plain.ranks.tolist()


@pytest.mark.parametrize(("shift", "alike"), [(20, True), (-20, False)])
def test_seen_items_scored_0_are_as_good_as_removed_where_what_is_found_scores_more(random_data, shift, alike):
    """As published code of S3-Rec's family has it: with scores above 0 its numbers compare with full-mask's."""
    data = random_data()
    scores = torch.randn(len(data.split.test.users), data.catalog.n_items) + shift
    ranks = run_scores(Evaluator(data, protocol="full-mask"), scores.clone()).ranks
    of_zeroed = []
    for row, score in enumerate(scores):
        score[[item - 1 for item in data.history(row)]] = 0
        target = int(data.sequences.items[data.split.test.stop[row]]) - 1
        of_zeroed.append(int((score >= score[target]).sum()))
    at_top = [np.minimum(found, 21) for found in (ranks, np.array(of_zeroed))]
    assert np.array_equal(*at_top) == alike
