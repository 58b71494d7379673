"""Denormal numbers are flushed while training and not saved."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from recloom.training.denormals import SMALLEST, flush_denormals, without_denormals
from recloom.training.fit import save_weights


def halved():
    return (torch.tensor(SMALLEST) / 2).item()


def test_results_are_flushed_within_the_block_alone():
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot flush denormal numbers")
    assert halved() > 0
    with flush_denormals():
        assert halved() == 0
        with flush_denormals():
            pass
        assert halved() == 0
    assert halved() > 0


def test_saved_weights_hold_none(tmp_path):
    model = nn.Linear(3, 1)
    model.weight.data = torch.tensor([[1e-39, 2e-38, -1e-40]])
    save_weights(model, tmp_path / "model.safetensors")
    saved = load_file(tmp_path / "model.safetensors")
    assert saved["weight"].tolist() == [[0, torch.tensor(2e-38).item(), 0]]
    assert without_denormals(torch.tensor([3])).tolist() == [3]
