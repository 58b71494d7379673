"""Items as what their attributes make of them, one at a time."""

import pytest
import torch

from recloom.items import ItemsByAttention, by_attention


def test_an_item_is_read_with_its_attributes_in_any_order_and_among_any_others(cycle_with_attributes):
    torch.manual_seed(0)
    catalog = cycle_with_attributes.catalog
    items = ItemsByAttention(catalog, 8, layers=2, heads=2).eval()
    table = items.table()
    torch.testing.assert_close(items(torch.tensor([[30, 5], [0, 5]])), table[torch.tensor([[30, 5], [0, 5]])])
    assert torch.isfinite(table).all() and (table[0] == 0).all(), "item 30 has no attributes"
    values = items.attributes.of_items
    start, stop = values.offsets[5], values.offsets[6]
    assert stop - start == 2
    values.values[start:stop] = values.values[start:stop].flip(0)
    torch.testing.assert_close(items.table()[5], table[5])


@pytest.mark.parametrize("form", ["attcc", "att", "meancc"])
def test_an_item_is_what_the_transformer_or_the_mean_makes_of_it_and_its_attributes(cycle_with_attributes, form):
    torch.manual_seed(0)
    catalog = cycle_with_attributes.catalog
    items = ItemsByAttention(catalog, 8, form=form, layers=2, heads=2).double().eval()
    for parameter in items.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    table = items.table()
    assert len(items.blocks) == (0 if form == "meancc" else 2) and table.shape == (32, 8 if form == "att" else 16)
    for item in range(1, 31):
        places = [catalog.attribute_names.index(name) + 1 for name in catalog.attributes_of(item)]
        own, attributes = items.ids.weight[item], items.attributes.weight[places]
        assert len(places) == (0 if item == 30 else 2)
        tokens = torch.cat([own[None], attributes])[None]
        for block in items.blocks:
            tokens = block(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), False)
        mean = attributes.mean(0) if places else torch.zeros(8).double()
        wanted = {"att": [tokens[0, 0]], "attcc": [own, tokens[0, 0]], "meancc": [own, mean]}[form]
        torch.testing.assert_close(table[item], torch.cat(wanted))
        torch.testing.assert_close(items(torch.tensor([item]))[0], torch.cat(wanted))


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_forming_inner_states_again_changes_no_gradient(cycle_with_attributes, monkeypatch, rate):
    """Of many items at once no inner state is kept; dropout is drawn once all the same."""
    ids, gradients = torch.arange(1, 31).repeat(4), []
    for checkpoint in (by_attention.checkpoint, lambda function, *arguments, use_reentrant: function(*arguments)):
        monkeypatch.setattr(by_attention, "TOKENS_AT_ONCE", 16)
        monkeypatch.setattr(by_attention, "checkpoint", checkpoint)
        torch.manual_seed(0)
        items = ItemsByAttention(cycle_with_attributes.catalog, 8, layers=2, heads=2, dropout=rate)
        items.encode(ids).square().sum().backward()
        gradients.append([parameter.grad for parameter in items.parameters()])
    for again, kept in zip(*gradients, strict=True):
        torch.testing.assert_close(again, kept)
