"""k-means: planted clusters, Lloyd's descent, empty clusters."""

import numpy as np
import pytest
import torch

from recloom.nn.k_means import k_means, nearest


def blobs(n=40, k=6, dim=3):
    torch.manual_seed(0)
    centres = torch.randn(k, dim) * 10
    return centres, (centres[:, None] + torch.randn(k, n, dim) * 0.1).flatten(0, 1)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def test_planted_clusters_are_found():
    centres, points = blobs()
    found, inertia = k_means(points, 6, draws())
    assert nearest(centres, found)[1].max() < 0.05
    places, distances = nearest(points, found)
    assert len(set(places.view(6, 40).tolist()[0])) == 1
    wanted = ((points[:, None] - found) ** 2).sum(2).min(1)
    torch.testing.assert_close(distances, wanted.values, rtol=1e-3, atol=1e-3)
    assert torch.equal(places, wanted.indices) and abs(inertia - wanted.values.sum().item()) < 0.5


def test_lloyd_s_steps_are_those_of_a_plain_reference(monkeypatch):
    _, points = blobs()
    _, apart = k_means(points, 6, draws())
    best = sum((blob - blob.mean(0)).square().sum().item() for blob in points.view(6, 40, 3))
    assert apart == pytest.approx(best, rel=1e-3), "blobs far apart are the best clusters"
    points = torch.randn(300, 4)
    start = points[torch.randperm(300)[:12]]
    monkeypatch.setattr("recloom.nn.k_means._start", lambda *_: start.clone())
    wanted, data = start.numpy().astype(np.float64), points.numpy().astype(np.float64)
    for _ in range(8):
        places = ((data[:, None] - wanted) ** 2).sum(2).argmin(1)
        wanted = np.stack([data[places == place].mean(0) for place in range(12)])
    found, inertia = k_means(points, 12, draws(), iterations=8)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-3, atol=1e-4)
    assert inertia == pytest.approx(((data[:, None] - wanted) ** 2).sum(2).min(1).sum(), rel=1e-4)


def test_a_cluster_without_points_goes_on_from_the_farthest(monkeypatch):
    points = torch.tensor([[5.0, 5.0]] * 8 + [[25.0, 5.0], [5.0, 45.0]])
    monkeypatch.setattr("recloom.nn.k_means._start", lambda points, k, _: points[:1].repeat(k, 1))
    found, inertia = k_means(points, 3, draws())
    assert sorted(found.tolist()) == [[5, 5], [5, 45], [25, 5]] and inertia == 0


def test_more_steps_and_restarts_never_make_it_worse():
    torch.manual_seed(1)
    points = torch.randn(500, 5)
    steps = [k_means(points, 20, draws(), iterations=i)[1] for i in (1, 2, 5, 20)]
    assert steps == sorted(steps, reverse=True) and steps[-1] < steps[0]
    assert k_means(points, 20, draws(), restarts=4)[1] <= steps[-1]
    assert k_means(points, 20, draws())[1] == steps[-1], "one seed, one result"


def test_points_that_coincide_leave_no_cluster_undefined():
    points = torch.cat([torch.zeros(50, 2), torch.ones(1, 2)])
    found, inertia = k_means(points, 5, draws())
    assert torch.isfinite(found).all() and inertia == 0
    assert len(k_means(points[:3], 5, draws())[0]) == 3, "no more clusters than points"
