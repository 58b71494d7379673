"""The post-norm block against PyTorch's own layer."""

import pytest
import torch
from torch import nn

from recloom.nn.transformer_blocks import BertBlock


@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_with_relu_and_the_same_eps_the_block_is_the_layer_of_pytorch(eps):
    torch.manual_seed(0)
    ours = BertBlock(8, 2, 0.0, 0.0, 16, "relu", eps=eps).double().eval()
    numbers = {"dropout": 0.0, "activation": "relu", "layer_norm_eps": eps, "batch_first": True}
    theirs = nn.TransformerEncoderLayer(8, 2, 16, **numbers).double().eval()
    attention = theirs.self_attn
    attention.in_proj_weight.data = torch.cat([ours.attention.query.weight, ours.attention.key_value.weight]).detach()
    attention.in_proj_bias.data = torch.cat([ours.attention.query.bias, ours.attention.key_value.bias]).detach()
    attention.out_proj.load_state_dict(ours.attention.output.state_dict())
    theirs.linear1.load_state_dict(ours.widen.state_dict())
    theirs.linear2.load_state_dict(ours.narrow.state_dict())
    states, valid = torch.randn(3, 5, 8, dtype=torch.float64), torch.arange(5) < torch.tensor([[5], [2], [1]])
    wanted = theirs(states, src_key_padding_mask=~valid)
    assert torch.allclose(ours(states, valid, causal=False)[valid], wanted[valid], atol=1e-9)
    places = torch.tensor([[4, 0], [1, 0], [0, 0]])
    some = ours.at(states, valid, False, places)
    assert torch.allclose(some, wanted[torch.arange(3)[:, None], places], atol=1e-9)
