"""Clusters of points by k-means."""

from __future__ import annotations

import torch
from torch import Tensor

DISTANCES_AT_ONCE = 1 << 22


def nearest(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest centroid of each point and its squared distance, `(n,)` each."""
    norms, places, distances = centroids.square().sum(1), [], []
    for some in points.to(centroids.dtype).split(max(1, DISTANCES_AT_ONCE // len(centroids))):
        with torch.autocast(points.device.type, enabled=False):  # in mixed precision the nearest may be another
            found = torch.addmm(norms, some, centroids.t(), alpha=-2).min(1)
        places.append(found.indices)
        distances.append((found.values + some.square().sum(1)).clamp(min=0))
    return torch.cat(places), torch.cat(distances)


def k_means(
    points: Tensor, k: int, generator: torch.Generator, *, iterations: int = 20, restarts: int = 1
) -> tuple[Tensor, float]:
    """Lloyd's algorithm from a k-means++ start, the best of some restarts.

    Args:
        points: `(n, dim)`.
        k: clusters; as many as there are points, if those are fewer.
        iterations: the most, in each start.

    Returns:
        `(k, dim)` centroids, and the sum of squared distances to them. A cluster that loses all its points goes on from
        the point farthest from its centroid.
    """
    k, best = min(k, len(points)), (points[:0], float("inf"))
    for _ in range(restarts):
        centroids = _start(points, k, generator)
        before: Tensor | None = None
        for _ in range(iterations):
            places, distances = nearest(points, centroids)
            if before is not None and torch.equal(places, before):
                break
            before = places
            counts = torch.bincount(places, minlength=k)
            sums = torch.zeros_like(centroids).index_add_(0, places, points)
            empty = (counts == 0).nonzero()[:, 0]
            centroids = sums / counts.clamp(min=1)[:, None]
            centroids[empty] = points[distances.topk(len(empty)).indices]
        inertia = float(nearest(points, centroids)[1].double().sum())
        if inertia < best[1]:
            best = centroids, inertia
    return best


def _start(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Points drawn one after another with a chance by their squared distance to those drawn before (k-means++)."""
    place = torch.randint(len(points), (1,), generator=generator, device=points.device)
    drawn, distances = [place], (points - points[place]).square().sum(1)
    for _ in range(k - 1):
        total = distances.double().cumsum(0)
        at = torch.rand(1, generator=generator, device=points.device, dtype=torch.float64) * total[-1]
        place = torch.searchsorted(total, at, right=True).clamp(max=len(points) - 1)
        drawn.append(place)
        distances = torch.minimum(distances, (points - points[place]).square().sum(1))
    return points[torch.cat(drawn)].clone()
