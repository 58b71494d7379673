"""Small learned maps from a batch of states to another view of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.errors import InputError


class MLPAugmenter(nn.Module):
    """Three layers, `dim -> dim / 2 -> dim / 4 -> dim`, GELU between them (Qin et al., MCLRec, SIGIR 2023)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, dim // 2), nn.GELU(), nn.Linear(dim // 2, dim // 4), nn.GELU(), nn.Linear(dim // 4, dim)
        )

    def forward(self, states: Tensor) -> Tensor:
        """`(batch, dim)` -> `(batch, dim)`."""
        return self.layers(states)


class AttentionAugmenter(nn.Module):
    """Each state as a mixture of those of its batch, by scaled dot-product attention over the rows."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, 3 * dim)

    def forward(self, states: Tensor) -> Tensor:
        """`(batch, dim)` -> `(batch, dim)`."""
        query, key, value = self.project(states).chunk(3, dim=1)
        return (query @ key.t() * states.shape[1] ** -0.5).softmax(1) @ value


class ConvolutionAugmenter(nn.Module):
    """Convolutions along the width of a state with kernels of 3, 4 and 5, all channels joined linearly."""

    def __init__(self, dim: int, channels: int = 4) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(1, channels, size, padding="same") for size in (3, 4, 5))
        self.join = nn.Linear(3 * channels, 1)

    def forward(self, states: Tensor) -> Tensor:
        """`(batch, dim)` -> `(batch, dim)`."""
        found = torch.cat([F.gelu(convolution(states[:, None])) for convolution in self.convolutions], 1)
        return self.join(found.transpose(1, 2))[..., 0]


AUGMENTERS: dict[str, type[nn.Module]] = {
    "mlp": MLPAugmenter,
    "attention": AttentionAugmenter,
    "convolution": ConvolutionAugmenter,
}


def get_augmenter(name: str, dim: int) -> nn.Module:
    """An augmenter by name."""
    if name not in AUGMENTERS:
        raise InputError(f"augmenter={name!r} is not known; choose one of {', '.join(AUGMENTERS)}")
    if name == "mlp" and dim < 4:
        raise InputError(f"dim={dim}: augmenter='mlp' has a layer of a quarter of it; choose at least 4")
    return AUGMENTERS[name](dim)
