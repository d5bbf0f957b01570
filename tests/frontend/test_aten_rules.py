"""Every rule of the table: networks of one operation, in the forms that exporters write, equal to eager PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bitkiln.frontend.torch_import import import_module
from bitkiln.ir import Graph, ToolError
from tests.frontend.micro_models import BATCH, Forward, assert_equal_to_eager, import_many, randomise

IMAGE, TOKENS, VECTOR = (4, 6, 8), (6, 8), (8,)
Function = Callable[[Tensor], object]


def wrap(function: Function) -> nn.Module:
    return Forward(lambda m, x: function(x))


def write_channel(x: Tensor) -> Tensor:
    y = x + 0.0
    y[:, 1] = 2.5
    return y


def write_run(x: Tensor) -> Tensor:
    y = x * 1.0
    y[:, 1:3] = x[:, :2]
    return y


def windows(x: Tensor) -> Tensor:
    """Swin's partition: the windows join the batch, and part again."""
    parts = x.reshape(-1, 4, 2, 3, 2, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 12, 4)
    attended = F.softmax(parts @ parts.transpose(1, 2), -1) @ parts
    return attended.reshape(-1, 2, 2, 3, 4, 4).permute(0, 5, 1, 3, 2, 4).reshape(-1, 4, 6, 8)


def window_convolution(x: Tensor) -> Tensor:
    """EfficientViT's windows: images of their own, which a convolution sees as a batch."""
    parts = x.reshape(-1, 4, 2, 3, 2, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, 4, 3, 4)
    smooth = F.conv2d(parts, torch.arange(36.0).reshape(4, 1, 3, 3), padding=1, groups=4)
    parts = F.max_pool2d(smooth, 3, 1, 1) + F.avg_pool2d(smooth, 3, 1, 1)
    return parts.reshape(-1, 2, 2, 4, 3, 4).permute(0, 3, 1, 4, 2, 5).reshape(-1, 4, 6, 8)


def window_mask(x: Tensor) -> Tensor:
    """A mask for each window, which the batch of windows meets by broadcasting."""
    parts = x.reshape(-1, 4, 6, 8)
    scores = (parts @ parts.transpose(-1, -2)).reshape(-1, 4, 6, 6)
    mask = torch.arange(4.0).reshape(4, 1, 1) * torch.ones(4, 6, 6)
    return F.softmax(scores + mask.unsqueeze(0), -1)


def sequence_first(x: Tensor) -> Tensor:
    """nn.MultiheadAttention's order: the batch axis in the middle, then joined with the heads."""
    sequence = x.transpose(0, 1)
    heads = sequence.reshape(6, -1, 4).transpose(0, 1)
    attended = torch.bmm(F.softmax(torch.bmm(heads, heads.transpose(1, 2)), -1), heads)
    return attended.transpose(0, 1).reshape(6, -1, 8).transpose(0, 1)


def mask_of_zeros(x: Tensor) -> Tensor:
    mask = x.new_zeros((6, 6))
    mask[:3, 3:] = 1
    return (x @ x.transpose(1, 2)).masked_fill(mask == 1, -9.0)


class BiasAlone(nn.Module):
    """Normalisations that shift and do not scale."""

    def __init__(self, norm: Callable[..., Tensor], shape: tuple[int, ...] | int, size: int) -> None:
        super().__init__()
        self.norm, self.shape = norm, shape
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x, self.shape, None, self.bias)


def write_with_a_step(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, 1::2] = x[:, :, :3] * 2.0
    return y


def grouped_queries(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x[:, :2], x[:, :2] + 1.0, enable_gqa=True)


CASES: tuple[tuple[str, Function | nn.Module, tuple[int, ...], list[str] | None], ...] = (
    ("sigmoid", torch.sigmoid, VECTOR, ["sigmoid"]),
    ("tanh", torch.tanh, VECTOR, ["tanh"]),
    ("silu", F.silu, VECTOR, ["silu"]),
    ("hardsigmoid", F.hardsigmoid, VECTOR, ["hard_sigmoid"]),
    ("hardswish", F.hardswish, VECTOR, ["hard_swish"]),
    ("gelu", F.gelu, VECTOR, ["gelu"]),
    ("gelu tanh", nn.GELU(approximate="tanh"), VECTOR, ["gelu"]),
    ("mish", F.mish, VECTOR, ["mish"]),
    ("leaky relu", nn.LeakyReLU(), VECTOR, ["leaky_relu"]),
    ("elu", nn.ELU(0.5), VECTOR, ["elu"]),
    ("softplus", nn.Softplus(2.0, 3.0), VECTOR, ["softplus"]),
    ("prelu", nn.PReLU(), IMAGE, ["clip", "mul", "relu", "add"]),
    ("prelu a channel", nn.PReLU(4), IMAGE, ["clip", "mul", "relu", "add"]),
    ("selu", F.selu, VECTOR, ["elu", "mul"]),
    ("celu", nn.CELU(0.7), VECTOR, ["mul", "elu", "mul"]),
    ("glu", nn.GLU(2), IMAGE, ["slice", "slice", "sigmoid", "mul"]),
    ("log sigmoid", F.logsigmoid, VECTOR, ["mul", "softplus", "mul"]),
    ("softsign", F.softsign, VECTOR, ["abs", "add", "div"]),
    ("exponential", torch.exp, VECTOR, ["exp"]),
    ("logarithm", lambda x: torch.log(x * x + 1.0) + torch.log1p(x * x), VECTOR, None),
    ("power of two", lambda x: 2.0**x, VECTOR, ["mul", "exp"]),
    ("larger of two", lambda x: torch.maximum(x, x.flip(1)), IMAGE, None),
    ("smaller of a row", lambda x: torch.minimum(x, x[:, :1]), IMAGE, None),
    ("larger of a number", lambda x: torch.maximum(x, torch.tensor(0.3)), VECTOR, ["clip"]),
    ("limits that are tensors", lambda x: x.clamp(torch.arange(8.0) / 8 - 1, torch.arange(8.0) / 8), VECTOR, None),
    ("square", torch.square, VECTOR, ["power"]),
    ("power", lambda x: (x * x) ** 1.5, VECTOR, ["mul", "power"]),
    ("roots", lambda x: torch.sqrt(x * x + 1.0) + torch.rsqrt(x * x + 1.0), VECTOR, None),
    ("clamp", lambda x: x.clamp(-0.5, 0.25), VECTOR, ["clip"]),
    ("clamp below", lambda x: x.clamp(min=-0.5), VECTOR, ["clip"]),
    ("clamp above", lambda x: x.clamp_max(0.5), VECTOR, ["clip"]),
    ("negate", lambda x: -x, VECTOR, ["mul"]),
    ("subtract", lambda x: x - F.relu(x), VECTOR, ["relu", "mul", "add"]),
    ("subtract a number", lambda x: x - 2, VECTOR, ["add"]),
    ("subtract from a number", lambda x: 1.0 - x, VECTOR, ["mul", "add"]),
    ("scaled sum", lambda x: torch.add(x, F.relu(x), alpha=2), VECTOR, ["relu", "mul", "add"]),
    ("multiply", lambda x: x * torch.tanh(x), VECTOR, ["tanh", "mul"]),
    ("multiply by its sigmoid", lambda x: x * torch.sigmoid(x), VECTOR, ["silu"]),
    ("gate", lambda x: F.adaptive_avg_pool2d(x, 1).sigmoid() * x, IMAGE, ["avg_pool2d", "sigmoid", "mul"]),
    ("multiply by numbers", lambda x: x * torch.arange(8.0), IMAGE, ["mul"]),
    ("divide by a number", lambda x: x / 3, VECTOR, ["mul"]),
    ("divide", lambda x: x / (x * x + 1), VECTOR, ["mul", "add", "div"]),
    ("divide a number", lambda x: 2.0 / (x * x + 1.0), VECTOR, None),
    ("lower rank", lambda x: x.mean(2) .unsqueeze(2) + x, TOKENS, None),
    ("softmax", nn.Softmax(1), IMAGE, ["softmax"]),
    ("log softmax", nn.LogSoftmax(-1), VECTOR, ["log_softmax"]),
    ("layer norm", nn.LayerNorm(8), TOKENS, ["layer_norm"]),
    ("layer norm on images", nn.LayerNorm((4, 6, 8), eps=1e-3), IMAGE, ["layer_norm"]),
    ("layer norm plain", nn.LayerNorm(8, elementwise_affine=False), TOKENS, ["layer_norm"]),
    ("layer norm without bias", nn.LayerNorm(8, bias=False), TOKENS, ["layer_norm"]),
    ("rms norm", nn.RMSNorm(8), TOKENS, None),
    ("rms norm plain", nn.RMSNorm((6, 8), eps=1e-2, elementwise_affine=False), TOKENS, None),
    ("layer norm with a bias alone", BiasAlone(F.layer_norm, (8,), 8), TOKENS, ["layer_norm"]),
    ("group norm with a bias alone", BiasAlone(F.group_norm, 2, 4), IMAGE, ["group_norm"]),
    ("group norm", nn.GroupNorm(2, 4), IMAGE, ["group_norm"]),
    ("instance norm", nn.InstanceNorm2d(4, affine=True), IMAGE, ["group_norm"]),
    ("instance norm with statistics", nn.InstanceNorm2d(4, track_running_stats=True), IMAGE, ["scale_shift"]),
    ("norm of merged tokens", nn.Sequential(nn.Flatten(0, 1), nn.BatchNorm1d(8), nn.Unflatten(0, (-1, 6))), TOKENS,
     None),
    ("mean of tokens", lambda x: x.mean(1), TOKENS, ["reduce_mean"]),
    ("mean of all", lambda x: x.mean((1, 2, 3), keepdim=True), IMAGE, ["reduce_mean"]),
    ("sum", lambda x: x.sum((1, -1)), IMAGE, ["reduce_sum"]),
    ("largest", lambda x: x.amax((1, 3)), IMAGE, ["reduce_max"]),
    ("largest of all pixels", lambda x: x.amax((2, 3)), IMAGE, ["max_pool2d", "reshape"]),
    ("largest along", lambda x: x.max(1)[0], IMAGE, ["reduce_max"]),
    ("smallest", lambda x: x.amin((2, 3)), IMAGE, ["mul", "reduce_max", "mul"]),
    ("smallest along", lambda x: x.min(1)[0], IMAGE, ["mul", "reduce_max", "mul"]),
    ("norm of order 1", lambda x: x.norm(p=1, dim=1), IMAGE, ["abs", "reduce_sum"]),
    ("largest magnitude", lambda x: x.norm(p=torch.inf, dim=1), IMAGE, ["abs", "reduce_max"]),
    ("variance", lambda x: x.var((2, 3), keepdim=True), IMAGE, None),
    ("variance without correction", lambda x: x.var(1, unbiased=False), TOKENS, None),
    ("variance of all", lambda x: x.var((1, 2), correction=2).unsqueeze(1), TOKENS, None),
    ("deviation", lambda x: x.std(-1), TOKENS, None),
    ("norm", lambda x: F.normalize(x, dim=-1), TOKENS, ["reduce_norm", "clip", "div"]),
    ("conv1d", nn.Conv1d(6, 4, 3, stride=2, padding=1, dilation=2), TOKENS, ["reshape", "conv2d", "reshape"]),
    ("conv1d same", nn.Conv1d(6, 4, 4, padding="same", bias=False), TOKENS, ["reshape", "conv2d", "reshape"]),
    ("transposed conv", nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, dilation=2), IMAGE, ["conv_transpose2d"]),
    ("transposed conv 1d", nn.ConvTranspose1d(6, 4, 3, 2, 1, 1, groups=2), TOKENS,
     ["reshape", "conv_transpose2d", "reshape"]),
    ("conv of volumes", Forward(lambda m, x: m.c(x.reshape(-1, 2, 2, 6, 8)),
                                c=nn.Conv3d(2, 4, (3, 2, 3), (1, 2, 1), (1, 0, 1), (1, 2, 1), groups=2)), IMAGE, None),
    ("conv of one volume", Forward(lambda m, x: m.c(x.unsqueeze(1)), c=nn.Conv3d(1, 3, (4, 2, 2))), IMAGE, None),
    ("conv without a batch", Forward(lambda m, x: torch.stack([m.c(part) for part in x.unbind(0)]),
                                     c=nn.Conv2d(4, 3, 3)), IMAGE, ["conv2d"]),
    ("max pool of volumes", lambda x: F.max_pool3d(x.reshape(-1, 2, 2, 6, 8), 2, (1, 2, 3), 1), IMAGE, None),
    ("avg pool of volumes", lambda x: F.avg_pool3d(x.reshape(-1, 2, 2, 6, 8), 2, (1, 2, 3), 1), IMAGE, None),
    ("local response norm", nn.LocalResponseNorm(3), IMAGE, None),
    ("adaptive max pool", nn.AdaptiveMaxPool2d((3, 5)), IMAGE, None),
    ("max pool 1d", nn.MaxPool1d(2), TOKENS, ["reshape", "max_pool2d", "reshape"]),
    ("avg pool 1d", nn.AvgPool1d(3, 2, 1), TOKENS, ["reshape", "avg_pool2d", "reshape"]),
    ("adaptive pool 1d", nn.AdaptiveAvgPool1d(2), TOKENS, ["reshape", "adaptive_avg_pool2d", "reshape"]),
    ("matmul", lambda x: x @ x.transpose(-1, -2), IMAGE, ["permute", "matmul"]),
    ("matmul by a matrix", lambda x: x @ torch.ones(8, 3).tril(), TOKENS, ["linear"]),
    ("matmul of a matrix", lambda x: torch.ones(3, 6).tril() @ x, TOKENS, ["matmul"]),
    ("matmul by a vector", lambda x: x @ torch.arange(8.0), IMAGE, ["linear", "reshape"]),
    ("matmul of a vector", lambda x: torch.arange(6.0) @ x, IMAGE, None),
    ("two vectors of the input", lambda x: x @ x[0, 0, 0] if len(x) == 1 else torch.stack([y @ y[0, 0] for y in x]),
     IMAGE, None),
    ("einsum", lambda x: torch.einsum("bij,bkj->bik", x, x), TOKENS, None),
    ("attention", lambda x: F.scaled_dot_product_attention(x, x, x), IMAGE, ["attention"]),
    ("causal attention", lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.3), IMAGE,
     ["attention"]),
    ("masked attention", lambda x: F.scaled_dot_product_attention(x, x, x, torch.ones(6, 6).tril() > 0), IMAGE,
     ["attention"]),
    ("attention with numbers", lambda x: F.scaled_dot_product_attention(x, x, x, torch.ones(6, 6).tril().log()), IMAGE,
     ["attention"]),
    ("grouped queries", grouped_queries, IMAGE, None),
    ("multi-head attention", Forward(lambda m, x: m.a(x, x, x)[0], a=nn.MultiheadAttention(8, 2, batch_first=True)),
     TOKENS, None),
    ("permute", lambda x: x.permute(0, 3, 1, 2), IMAGE, ["permute"]),
    ("transpose", lambda x: x.transpose(-1, 1), IMAGE, ["permute"]),
    ("slice", lambda x: x[:, 1:4, ::3, :-2], IMAGE, ["slice", "slice", "slice"]),
    ("select", lambda x: x[:, -1], IMAGE, ["slice", "reshape"]),
    ("split", lambda x: torch.cat(x.split(3, 2)[::-1], 2), IMAGE, ["slice", "slice", "concat"]),
    ("split with sizes", lambda x: x.split([1, 5], 2)[1], IMAGE, ["slice"]),
    ("chunk", lambda x: x.chunk(3, 3)[2], IMAGE, ["slice"]),
    ("unbind", lambda x: x.unbind(1)[2], IMAGE, ["slice", "reshape"]),
    ("stack", lambda x: torch.stack([x, x + 1.0], 2), IMAGE, None),
    ("expand", lambda x: x[:, :1].expand(-1, 5, -1, -1), IMAGE, ["slice", "expand"]),
    ("class token", lambda x: torch.cat([torch.arange(8.0).expand(x.shape[0], 1, 8), x], 1), TOKENS, ["concat"]),
    ("nothing joined", lambda x: torch.cat([x[:, :0], F.relu(x)], 1), TOKENS, ["relu"]),
    ("pad", lambda x: F.pad(x, (1, 2, 0, 3), value=-1.0), IMAGE, ["pad"]),
    ("pad negative", lambda x: F.pad(x, (-1, 2, 0, -3)), IMAGE, ["pad"]),
    ("pad with infinity", lambda x: F.max_pool2d(F.pad(x, (1, 1), value=-torch.inf), 2), IMAGE, ["pad", "max_pool2d"]),
    ("pad reflect", nn.ReflectionPad2d((1, 2, 3, 0)), IMAGE, ["pad"]),
    ("pad replicate", nn.ReplicationPad2d(2), IMAGE, ["pad"]),
    ("pad circular", nn.CircularPad2d((1, 2, 3, 0)), IMAGE, ["pad"]),
    ("pad rows", lambda x: F.pad(x, (3, 2), mode="reflect"), TOKENS, ["reshape", "pad", "reshape"]),
    ("repeat", lambda x: x.repeat(1, 2, 1, 3), IMAGE, ["concat", "concat"]),
    ("repeat one", lambda x: x[:, :1].repeat(1, 4, 1, 1), IMAGE, ["slice", "expand"]),
    ("tile", lambda x: x.unsqueeze(1).tile(2, 1, 1), TOKENS, None),
    ("unfold", lambda x: x.unfold(2, 3, 2), IMAGE, ["take", "reshape", "permute"]),
    ("im2col", nn.Unfold(3, padding=1, stride=2), IMAGE, None),
    ("col2im", lambda x: F.fold(x.reshape(-1, 12, 16), (6, 6), (2, 3), (1, 2), 1, (2, 1)), IMAGE, None),
    ("index two axes", lambda x: x[:, :, [0, 2, -1], [1, 3, -8]], IMAGE, ["reshape", "take"]),
    ("index a table", lambda x: x[:, torch.tensor([[0, 3], [1, 1]])], IMAGE, ["take", "reshape"]),
    ("pad nothing", lambda x: F.relu(F.pad(x, (0, 0, 0, 0))), IMAGE, ["relu"]),
    ("pad before conv", nn.Sequential(nn.ZeroPad2d((1, 0, 2, 0)), nn.Conv2d(4, 3, 3)), IMAGE, ["conv2d"]),
    ("roll", lambda x: torch.roll(x, (-1, 2), (1, 2)), IMAGE, ["roll"]),
    ("flip", lambda x: x.flip((1, -1)), IMAGE, ["flip"]),
    ("index select", lambda x: x.index_select(1, torch.tensor([3, 0, 0])), IMAGE, ["take"]),
    ("index", lambda x: x[:, :, [2, -1]], IMAGE, ["take"]),
    ("pixel shuffle", nn.PixelShuffle(2), IMAGE, ["reshape", "permute", "reshape"]),
    ("pixel unshuffle", nn.PixelUnshuffle(2), IMAGE, ["reshape", "permute", "reshape"]),
    ("channel shuffle", nn.ChannelShuffle(2), IMAGE, ["reshape", "permute", "reshape"]),
    ("nearest exact", nn.Upsample(scale_factor=1.7, mode="nearest-exact"), IMAGE, ["take", "take"]),
    ("nearest", nn.Upsample(scale_factor=2), IMAGE, ["resize"]),
    ("bilinear", lambda x: F.interpolate(x, (7, 11), mode="bilinear"), IMAGE, ["resize"]),
    ("bilinear corners", lambda x: F.interpolate(x, (7, 11), mode="bilinear", align_corners=True), IMAGE, ["resize"]),
    ("bilinear factor", lambda x: F.interpolate(x, scale_factor=1.3, mode="bilinear"), IMAGE, ["resize"]),
    ("bicubic", lambda x: F.interpolate(x, (7, 11), mode="bicubic"), IMAGE, ["resize"]),
    ("zeros like", lambda x: torch.cat([x, torch.zeros_like(x)], 1), IMAGE, ["concat"]),
    ("view writes a channel", write_channel, IMAGE, None),
    ("view writes a run", write_run, IMAGE, None),
    ("view writes with a step", write_with_a_step, IMAGE, None),
    ("windows", windows, IMAGE, None),
    ("convolution of windows", window_convolution, IMAGE, None),
    ("a mask a window", window_mask, (24, 8), None),
    ("sequence first", sequence_first, TOKENS, None),
    ("computed mask", mask_of_zeros, TOKENS, None),
    ("float of a float", lambda x: x.float().to(torch.float32).contiguous() + 1.0, VECTOR, ["add"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def imported() -> dict[str, tuple[nn.Module, Graph]]:
    """Every case's network and Graph; those of one input shape come from one trace."""
    found: dict[str, tuple[nn.Module, Graph]] = {}
    for shape in dict.fromkeys(case[2] for case in CASES):
        chosen = {name: part for name, part, sample, _ in CASES if sample == shape}
        networks = {name: part if isinstance(part, nn.Module) else wrap(part) for name, part in chosen.items()}
        graphs = import_many(list(networks.values()), shape)
        found |= {name: (networks[name], graph) for name, graph in zip(networks, graphs, strict=True)}
    return found


@pytest.mark.parametrize(("name", "shape", "expected"), [(case[0], *case[2:]) for case in CASES])
def test_equals_eager(
    imported: dict[str, tuple[nn.Module, Graph]], name: str, shape: tuple[int, ...], expected: list[str] | None
) -> None:
    module, graph = imported[name]
    assert_equal_to_eager(graph, module, torch.randn(BATCH, *shape))
    if expected is not None:
        assert [node.op.name for node in graph.nodes] == expected


def test_writing_at_an_index_is_refused() -> None:
    def write(x: Tensor) -> Tensor:
        y = x + 1.0
        y[:, [0, 2]] = 0.5
        return y

    with pytest.raises(ToolError, match=r"aten\.index_put\.default is not supported"):
        import_module(randomise(wrap(write)), (1, 4), "net")


@pytest.mark.parametrize(
    ("function", "shape", "message"),
    [
        (lambda x: x.to(torch.float64), VECTOR, "it converts to torch.float64"),
        (lambda x: x.softmax(-1, dtype=torch.float64), VECTOR, "it computes in torch.float64"),
        (lambda x: torch.linalg.vector_norm(x, 3, dim=1), VECTOR, "it is the norm of order 3.0"),
        (lambda x: torch.roll(x, 1), VECTOR, "it rolls all axes as one"),
        (lambda x: torch.argmax(x, 2), TOKENS, "it looks at [1, 6, 8]"),
        (lambda x: x.topk(2, 2)[1], TOKENS, "it looks at [1, 6, 8]"),
        (lambda x: x.topk(2, 1)[0], VECTOR, "it gives the values of the 2 largest"),
        (lambda x: x.topk(2, 1, largest=False)[1], VECTOR, "it looks for the smallest"),
        (lambda x: x.var(2, correction=8), (4, 8), "it is the variance of 8 elements with correction 8"),
        (lambda x: x[:, [1], :, [2]], IMAGE, "it indexes by what depends on the input, or axes apart"),
        (lambda x: F.avg_pool3d(x.unsqueeze(1), 3, 2, ceil_mode=True), IMAGE, "its windows are not all of one size"),
        (lambda x: (-2.0) ** x, VECTOR, "its base is -2.0"),
        (lambda x: F.linear(x, x[0, :8]), (8, 8), "its weight depends on the network's input"),
    ],
)
def test_forms_that_are_not_supported(function: Function, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ToolError) as caught:
        import_module(randomise(wrap(function)), (1, *shape), "net")
    (found,) = caught.value.diagnostics
    assert found.slug == "unsupported-op"
    assert message in found.message
    assert found.hint
