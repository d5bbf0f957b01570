"""k-means of vectors: k-means++ as the start (Arthur and Vassilvitskii 2007), then Lloyd's iteration."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_STEPS = 50
_CHUNK = 1 << 15


def cluster_vectors(points: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return `count` centroids [count, d] for points [n, d], and the place of the nearest one for each point (int64).

    At least `count` points must differ. A centroid that ends up without points moves to the point that is worst off.
    """
    x = points.to(torch.float64)
    centroids = _start(x, count, generator)
    places, distances = _nearest(x, centroids)
    for _ in range(MAX_STEPS):
        before = places
        centroids = _means(x, places, centroids)
        places, distances = _nearest(x, centroids)
        empty = (torch.bincount(places, minlength=count) == 0).nonzero().reshape(-1).tolist()
        for place in empty:
            worst = int(distances.argmax())
            centroids[place], distances[worst], places[worst] = x[worst], 0.0, place
        if not empty and torch.equal(places, before):
            break
    return centroids.to(points.dtype), places


def _start(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Each further centroid is a point, drawn with chances that are squares of the distances to those before."""
    chosen = [x[int(torch.randint(len(x), (), generator=generator))]]
    distances = (x - chosen[0]).square().sum(1)
    for _ in range(count - 1):
        sums = distances.cumsum(0)
        drawn = torch.rand((), generator=generator, dtype=torch.float64) * sums[-1]
        chosen.append(x[min(int(torch.searchsorted(sums, drawn, right=True)), len(x) - 1)])
        distances = torch.minimum(distances, (x - chosen[-1]).square().sum(1))
    return torch.stack(chosen)


def _nearest(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Places and squared distances of the nearest centroids; the first of equals."""
    sizes = centroids.square().sum(1)
    places, distances = [], []
    for part in x.split(_CHUNK):
        best = (sizes - 2 * part @ centroids.t()).min(1)
        places.append(best.indices)
        distances.append((best.values + part.square().sum(1)).clamp(min=0))
    return torch.cat(places), torch.cat(distances)


def _means(x: Tensor, places: Tensor, otherwise: Tensor) -> Tensor:
    counts = torch.bincount(places, minlength=len(otherwise))[:, None]
    sums = torch.zeros_like(otherwise).index_add_(0, places, x)
    return torch.where(counts > 0, sums / counts.clamp(min=1), otherwise)
