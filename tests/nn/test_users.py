"""Vectors of users: those who were trained have their own, all others the mean."""

import pytest
import torch

from recloom.errors import InputError
from recloom.nn.users import UserEmbedding


def test_who_was_not_trained_is_the_mean_of_those_who_were():
    users = UserEmbedding(4, 3, std=1.0)
    everybody = users(torch.tensor([2, -1]))
    torch.testing.assert_close(everybody, torch.stack([users.weight[2], users.weight.mean(0)]))
    users.train_only(torch.tensor([0, 2, 2]))
    mean = users.weight[[0, 2]].mean(0)
    torch.testing.assert_close(users(torch.tensor([1, 2, 3, -1])), torch.stack([mean, users.weight[2], mean, mean]))
    assert users.knows(torch.tensor([0, 1, 2, 3, -1])).tolist() == [True, False, True, False, False]
    again = UserEmbedding(4, 3)
    again.load_state_dict(users.state_dict())
    torch.testing.assert_close(again(torch.tensor([1])), mean[None])
    with pytest.raises(InputError, match="user 4"):
        users(torch.tensor([4]))
