"""Each augmenter against its formula, state by state."""

import math

import pytest
import torch

from recloom.nn.augmenters import AUGMENTERS, get_augmenter


def gelu(values):
    return values * (1 + torch.erf(values / math.sqrt(2))) / 2


def mlp(augmenter, states):
    first, second, third = (augmenter.layers[place] for place in (0, 2, 4))
    found = []
    for state in states:
        narrow = gelu(first.weight @ state + first.bias)
        narrower = gelu(second.weight @ narrow + second.bias)
        found.append(third.weight @ narrower + third.bias)
    return torch.stack(found)


def attention(augmenter, states):
    weight, bias = augmenter.project.weight, augmenter.project.bias
    parts = [(weight @ state + bias).chunk(3) for state in states]
    found = []
    for query, _, _ in parts:
        shares = [(query @ key / math.sqrt(len(query))).exp() for _, key, _ in parts]
        found.append(sum(share * value for share, (_, _, value) in zip(shares, parts, strict=True)) / sum(shares))
    return torch.stack(found)


def convolution(augmenter, states):
    found = torch.zeros_like(states)
    for row, state in enumerate(states):
        for place in range(len(state)):
            channels = []
            for size, each in zip((3, 4, 5), augmenter.convolutions, strict=True):
                around = [place - (size - 1) // 2 + step for step in range(size)]
                window = torch.stack([state[at] if 0 <= at < len(state) else state[0] * 0 for at in around])
                channels.append(each.weight[:, 0] @ window + each.bias)
            found[row, place] = augmenter.join.weight[0] @ gelu(torch.cat(channels)) + augmenter.join.bias[0]
    return found


@pytest.mark.parametrize("name", list(AUGMENTERS))
@torch.no_grad()
def test_each_augmenter_by_loops(name):
    torch.manual_seed(0)
    augmenter, states = get_augmenter(name, 8).double(), 3 * torch.randn(5, 8).double()
    slow = {"mlp": mlp, "attention": attention, "convolution": convolution}[name]
    torch.testing.assert_close(augmenter(states), slow(augmenter, states))
