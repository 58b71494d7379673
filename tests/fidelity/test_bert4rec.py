"""BERT4Rec: what is hidden, what is asked, and how it is served."""

import pytest
import torch
import torch.nn.functional as F

from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.errors import InputError

MASK = 31


def make(catalog, **numbers):
    torch.manual_seed(0)
    shared = {"dim": 8, "length": 8, "dropout": 0.0, "attention_dropout": 0.0, "precision": "fp32"}
    return methods.build("bert4rec", catalog, **{**shared, **numbers})[0].method


def rows(n=4000):
    lengths = torch.randint(1, 8, (n, 1), generator=torch.Generator().manual_seed(0))
    items = torch.randint(1, 31, (n, 7), generator=torch.Generator().manual_seed(1))
    return items.masked_fill(torch.arange(7) >= lengths, 0), lengths[:, 0]


def test_how_much_is_hidden(cycle):
    method = make(cycle.catalog, mask_share=0.4, last_share=0.25)
    items, lengths = rows()
    before = items.clone()
    hidden = method.hide(items) != items
    assert torch.equal(items, before) and not hidden[items == 0].any()
    wanted = (lengths * 0.4 + 1e-6).long().clamp(min=1)
    counts, ends = hidden.sum(1), hidden[torch.arange(len(items)), lengths - 1]
    several = wanted > 1
    alone = (counts == 1) & ends & several
    assert (counts[several & ~alone] == wanted[several & ~alone]).all() and (counts[~several] == 1).all()
    assert alone[several].float().mean().item() == pytest.approx(0.25, abs=0.03)
    within = hidden[several & ~alone & (lengths == 7)].float().mean(0)
    assert within.tolist() == pytest.approx([2 / 7] * 7, abs=0.05), "every place is hidden as often"


def test_the_loss_is_softmax_at_hidden_places_alone(cycle):
    method = make(cycle.catalog)
    with torch.no_grad():
        method.bias.normal_()
    batch = SequenceBatch(torch.arange(2), torch.tensor([[3, 8, 2], [6, 0, 0]]), torch.tensor([[8, 2, 5], [1, 0, 0]]))
    method.generator.manual_seed(4)
    seen = method.hide(batch.whole())
    method.generator.manual_seed(4)
    loss, terms = method.training_step(batch, 0), []
    states = method.backbone(seen, "bidirectional")
    for row, at in (seen == MASK).nonzero().tolist():
        inner = method.transform.weight @ states[row, at] + method.transform.bias
        logits = method.backbone.items.weight @ method.norm(F.gelu(inner)) + method.bias
        terms.append(F.cross_entropy(logits[1:-1], batch.whole()[row, at] - 1))
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_serving_asks_behind_the_last_item(cycle):
    method = make(cycle.catalog)
    items = torch.tensor([[3, 8, 2, 4, 5, 6, 7], [6, 1, 0, 0, 0, 0, 0]])
    assert method.length == 7, "one place of eight is the mask's"
    found = method.queries(SequenceBatch(torch.arange(2), items))[:, 0]
    longer = torch.tensor([[3, 8, 2, 4, 5, 6, 7, MASK], [6, 1, MASK, 0, 0, 0, 0, 0]])
    states = method.backbone(longer, "bidirectional")
    torch.testing.assert_close(found, method.head(torch.stack([states[0, 7], states[1, 2]])))
    changed = items.clone()
    changed[0, -1] = 9
    assert not torch.allclose(method.queries(SequenceBatch(torch.arange(2), changed))[0, 0], found[0])


def test_the_place_of_the_mask_matters(cycle):
    method = make(cycle.catalog)
    one, two = torch.tensor([[3, MASK, 8]]), torch.tensor([[MASK, 3, 8]])
    states = [method.backbone(x, "bidirectional")[x == MASK] for x in (one, two)]
    assert not torch.allclose(*states)


def test_what_does_not_fit_is_refused(cycle):
    for numbers, message in (({"mask_share": 1.5}, "mask_share=1.5"), ({"length": 1}, "length=1")):
        with pytest.raises(InputError, match=message):
            make(cycle.catalog, **numbers)


def test_gradients_are_clipped_as_in_the_authors_code(cycle):
    (stage,) = methods.build("bert4rec", cycle.catalog, dim=8, length=8)
    assert stage.gradient_clip == 5.0 and stage.counted == "items"
