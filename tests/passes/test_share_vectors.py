"""Product and residual quantisation of weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bitkiln.ir import Graph, ToolError, encode_kiln, evaluate
from bitkiln.passes import LayerVectors, ShareVectors, Tune, read_passes, run_passes, unshare
from bitkiln.passes._vector_kmeans import cluster_vectors
from tests.passes.networks import context, mlp, samples


def shared(graph: Graph, step: ShareVectors) -> Graph:
    return run_passes(graph, (step,), context(graph))


def error(graph: Graph, step: ShareVectors, name: str = "fc1.weight") -> float:
    """Squared error of a layer's weights."""
    found = unshare(shared(graph, step)).const[name].data
    return float((found - graph.const[name].data).double().square().sum())


def brute_force(points: Tensor, centroids: Tensor) -> Tensor:
    return torch.cdist(points.double(), centroids.double()).argmin(1)


def test_every_vector_takes_its_nearest_centroid_and_that_is_their_mean() -> None:
    points = torch.randn(400, 3, generator=torch.Generator().manual_seed(1))
    centroids, places = cluster_vectors(points, 16, torch.Generator().manual_seed(0))
    assert torch.equal(places, brute_force(points, centroids))
    means = torch.stack([points[places == i].mean(0) for i in range(16)])
    torch.testing.assert_close(means, centroids, atol=1e-5, rtol=0)


def test_as_many_centroids_as_points_lose_nothing() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0], [1.0, 0.0], [0.0, 0.0]])
    centroids, places = cluster_vectors(points, 3, torch.Generator().manual_seed(0))
    assert torch.equal(centroids[places], points)


def test_more_of_anything_makes_the_error_smaller() -> None:
    graph = mlp((64, 96, 20))
    plain = error(graph, ShareVectors(4, 4))
    assert error(graph, ShareVectors(4, 6)) < plain
    assert error(graph, ShareVectors(2, 4)) < plain
    assert error(graph, ShareVectors(4, 4, levels=2)) < 0.7 * plain
    assert error(graph, ShareVectors(4, 4, is_common=False)) < plain


def test_stored_bytes_are_indices_and_tables() -> None:
    """256 x 64 weights: 16 segments of 4 a row, of 6 bits each; 64 vectors of 4 floats."""
    graph = mlp((64, 256))
    found = shared(graph, ShareVectors(4, 6))
    assert found.const["fc1.weight"].type.bits == 256 * 16 * 6
    assert found.const["fc1.weight.table"].type.elements == 64 * 4
    counted = 256 * 16 * 6 // 8 + 64 * 4 * 4 + 256 * 4
    assert counted - 200 < len(encode_kiln(found)) < counted + 250


def test_layers_have_options_of_their_own() -> None:
    step = ShareVectors(4, 3, layers=(LayerVectors("fc1", 0), LayerVectors("layers.fc2", 2, 4)))
    found = shared(mlp((8, 16, 12)), step)
    assert str(found.types["fc1.weight"]) == "f32[16,8]"
    assert str(found.types["fc2.weight"]) == "codebook4(f32)[1,12,8]"


def test_tables_are_tuned_in_place() -> None:
    graph = mlp((8, 24, 3))
    x = samples(graph, 256)
    found = run_passes(
        graph,
        (ShareVectors(4, 3), Tune(epochs=4, learning_rate=0.01)),
        context(graph, x, evaluate(graph, x)[0].argmax(1)),
    )
    coarse = shared(graph, ShareVectors(4, 3))
    agree = [
        float((evaluate(g, x)[0].argmax(1) == evaluate(graph, x)[0].argmax(1)).double().mean()) for g in (coarse, found)
    ]
    assert agree[1] > agree[0]
    assert torch.equal(found.const["fc1.weight"].data, coarse.const["fc1.weight"].data)


def test_too_many_centroids() -> None:
    with pytest.raises(ToolError, match=r"fc2\.weight has 6 distinct vectors in a codebook, fewer than 16") as caught:
        shared(mlp((8, 8, 3)), ShareVectors(4, 4))
    assert [found.slug for found in caught.value.diagnostics] == ["too-many-centroids"]
    assert "set index_bits to 2 or less" in caught.value.diagnostics[0].hint


def test_reads_options_and_refuses_wrong_ones() -> None:
    table = {"name": "share_vectors", "dimension": 8, "levels": 2, "is_common": False}
    assert read_passes([table], "here") == (ShareVectors(8, levels=2, is_common=False),)
    for key, value in (("dimension", 0), ("levels", 0), ("index_bits", 13)):
        with pytest.raises(ToolError, match=f"{key} must be"):
            read_passes([{**table, key: value}], "here")
    with pytest.raises(ToolError, match="No layer of tiny with weights matches 'conv1'"):
        shared(mlp((8, 3)), ShareVectors(layers=(LayerVectors("conv1", 2),)))
    assert math.isfinite(error(mlp((7, 40)), ShareVectors(4, 3)))  # 7 columns are no multiple of 4
