"""The post-norm block against PyTorch's own layer, SASRec's own block against its equations."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recloom.nn.transformer_blocks import BertBlock, OriginalBlock


@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_with_relu_and_the_same_eps_the_block_is_the_layer_of_pytorch(layer_of_pytorch, eps):
    torch.manual_seed(0)
    ours = BertBlock(8, 2, 0.0, 0.0, 16, "relu", eps=eps).double().eval()
    theirs = layer_of_pytorch(ours, eps)
    states, valid = torch.randn(3, 5, 8, dtype=torch.float64), torch.arange(5) < torch.tensor([[5], [2], [1]])
    wanted = theirs(states, src_key_padding_mask=~valid)
    assert torch.allclose(ours(states, valid, causal=False)[valid], wanted[valid], atol=1e-9)
    places = torch.tensor([[4, 0], [1, 0], [0, 0]])
    some = ours.at(states, valid, False, places)
    assert torch.allclose(some, wanted[torch.arange(3)[:, None], places], atol=1e-9)


def test_the_block_of_sasrec_row_by_row():
    """Kang and McAuley 2018, section III.C, with what the authors' code normalises and adds."""
    torch.manual_seed(0)
    block = OriginalBlock(6, 2, 0.0, 0.0, 6).double().eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    states, valid = torch.randn(2, 4, 6, dtype=torch.float64), torch.arange(4) < torch.tensor([[4], [3]])
    attention, to_key, to_value = block.attention, slice(0, 6), slice(6, 12)

    def norm(layer, vector):
        spread = (vector - vector.mean()) / (vector.var(correction=0) + 1e-8).sqrt()
        return spread * layer.weight + layer.bias

    for row, length in ((0, 4), (1, 3)):
        for at in range(length):
            asking = norm(block.norm_attention, states[row, at])
            query = attention.query.weight @ asking + attention.query.bias
            both = [attention.key_value.weight @ states[row, j] + attention.key_value.bias for j in range(at + 1)]
            mixed = []
            for head in (slice(0, 3), slice(3, 6)):
                scores = torch.stack([query[head] @ one[to_key][head] / math.sqrt(3) for one in both])
                mixed.append(sum(w * one[to_value][head] for w, one in zip(scores.softmax(0), both, strict=True)))
            mixed = attention.output.weight @ torch.cat(mixed) + attention.output.bias
            middle = norm(block.norm_forward, asking + mixed)
            wide = F.relu(block.widen.weight @ middle + block.widen.bias)
            wanted = middle + block.narrow.weight @ wide + block.narrow.bias
            torch.testing.assert_close(block(states, valid, causal=True)[row, at], wanted)
    some = block.at(states, valid, True, torch.tensor([[3, 0], [2, 1]]))
    torch.testing.assert_close(some[1], block(states, valid, causal=True)[1, [2, 1]])
