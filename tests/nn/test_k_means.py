"""k-means: planted clusters, Lloyd's descent, empty clusters."""

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
