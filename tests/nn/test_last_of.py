"""The end of right-padded rows."""

import torch

from recloom.nn.last_of import last_of


def test_the_state_of_the_last_real_item():
    states, valid = torch.arange(6.0).view(2, 3, 1), torch.tensor([[True, True, True], [True, False, False]])
    assert last_of(states, valid).tolist() == [[2.0], [3.0]]
