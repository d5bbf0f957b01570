"""Networks through torch.export: equal to eager PyTorch on a batch, readable places, and refusals that help."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from bitkiln.frontend.torch_import import import_module, import_program
from bitkiln.ir import Graph, Location, ToolError, print_graph
from tests.frontend.micro_models import (
    BATCH,
    Forward,
    assert_equal_to_eager,
    check_import,
    import_many,
    randomise,
)

HERE = Path(__file__)


def op_names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def conv_bn(channels: int = 3, **convolution: object) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 6, 3, **convolution), nn.BatchNorm2d(6))  # type: ignore[arg-type]


def tied() -> Forward:
    layers = {"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}
    layers["b"].weight = layers["a"].weight
    return Forward(lambda m, x: m.b(m.a(x)), **layers)


def channels_last() -> nn.Module:
    return conv_bn().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


IMAGE = (3, 9, 8)
# name, network, shape of a sample, operations of the canonical graph
CASES: tuple[tuple[str, Callable[[], nn.Module], tuple[int, ...], list[str]], ...] = (
    ("linear", lambda: nn.Linear(5, 3), (5,), ["linear"]),
    ("linear no bias", lambda: nn.Linear(5, 3, bias=False), (5,), ["linear"]),
    ("linear on 3 axes", lambda: nn.Linear(5, 3), (4, 5), ["linear"]),
    ("linear bn", lambda: nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)), (5,), ["linear"]),
    ("linear bn no bias", lambda: nn.Sequential(nn.Linear(5, 3, False), nn.BatchNorm1d(3)), (5,), ["linear"]),
    ("bn on 3 axes", lambda: nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(4)), (4, 5), ["linear", "scale_shift"]),
    ("conv bn", conv_bn, IMAGE, ["conv2d"]),
    ("conv bn no bias", lambda: conv_bn(bias=False), IMAGE, ["conv2d"]),
    ("stride", lambda: conv_bn(stride=(2, 1), padding=(1, 2)), IMAGE, ["conv2d"]),
    ("dilation", lambda: conv_bn(dilation=(3, 2)), IMAGE, ["conv2d"]),
    ("groups", lambda: conv_bn(groups=3), IMAGE, ["conv2d"]),
    ("depthwise", lambda: nn.Conv2d(3, 3, 3, groups=3, padding=1), IMAGE, ["conv2d"]),
    ("same", lambda: nn.Conv2d(3, 4, (4, 3), padding="same", dilation=(1, 2)), IMAGE, ["conv2d"]),
    ("valid", lambda: nn.Conv2d(3, 4, (4, 3), padding="valid"), IMAGE, ["conv2d"]),
    ("bn first", lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3)), IMAGE, ["scale_shift", "conv2d"]),
    ("bn plain", lambda: nn.BatchNorm2d(3, affine=False, eps=0.1), IMAGE, ["scale_shift"]),
    ("bn twice", lambda: nn.Sequential(conv_bn(), nn.BatchNorm2d(6)), IMAGE, ["conv2d"]),
    ("conv read twice", lambda: Forward(lambda m, x: m.b(y := m.c(x)) + y, c=nn.Conv2d(3, 6, 1), b=nn.BatchNorm2d(6)),
     IMAGE, ["conv2d", "scale_shift", "add"]),
    ("relu6", nn.ReLU6, IMAGE, ["clip"]),
    ("functional relu6", lambda: Forward(lambda m, x: F.relu6(x)), IMAGE, ["clip"]),
    ("hardtanh", lambda: nn.Hardtanh(-0.3, 0.6), IMAGE, ["clip"]),
    ("relu relu", lambda: nn.Sequential(nn.ReLU(), nn.ReLU(inplace=True)), IMAGE, ["relu"]),
    ("max pool", lambda: nn.MaxPool2d(2), IMAGE, ["max_pool2d"]),
    ("max pool ceil", lambda: nn.MaxPool2d(3, 2, ceil_mode=True), IMAGE, ["max_pool2d"]),
    ("max pool ceil padded", lambda: nn.MaxPool2d(2, 3, 1, ceil_mode=True), IMAGE, ["max_pool2d"]),
    ("max pool dilated", lambda: nn.MaxPool2d((3, 2), 1, dilation=(2, 3)), IMAGE, ["max_pool2d"]),
    ("avg pool", lambda: nn.AvgPool2d(3, 2, padding=1), IMAGE, ["avg_pool2d"]),
    ("avg pool no pad", lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False), IMAGE, ["avg_pool2d"]),
    ("avg pool ceil", lambda: nn.AvgPool2d(2, 2, ceil_mode=True), IMAGE, ["avg_pool2d"]),
    ("avg pool divisor", lambda: nn.AvgPool2d(2, divisor_override=3), IMAGE, ["avg_pool2d"]),
    ("adaptive one", lambda: nn.AdaptiveAvgPool2d(1), IMAGE, ["avg_pool2d"]),
    ("adaptive divides", lambda: nn.AdaptiveAvgPool2d((3, 2)), IMAGE, ["avg_pool2d"]),
    ("adaptive does not divide", lambda: nn.AdaptiveAvgPool2d((4, 5)), IMAGE, ["adaptive_avg_pool2d"]),
    ("adaptive identity", lambda: nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d((9, 8))), IMAGE, ["relu"]),
    ("adaptive max", lambda: nn.AdaptiveMaxPool2d((3, 4)), IMAGE, ["max_pool2d"]),
    ("mean", lambda: Forward(lambda m, x: x.mean((2, 3))), IMAGE, ["avg_pool2d", "reshape"]),
    ("mean keepdim", lambda: Forward(lambda m, x: x.mean((-1, -2), keepdim=True)), IMAGE, ["avg_pool2d"]),
    ("flatten", lambda: nn.Sequential(nn.Flatten(), nn.Linear(216, 3)), IMAGE, ["reshape", "linear"]),
    ("views", lambda: Forward(lambda m, x: x.view(-1, 9, 24).unsqueeze(1).reshape(len(x), -1)), IMAGE, ["reshape"]),
    ("squeeze", lambda: Forward(lambda m, x: F.avg_pool2d(x, (9, 8)).squeeze(-1).squeeze(-1)), IMAGE,
     ["avg_pool2d", "reshape"]),
    ("residual", lambda: Forward(lambda m, x: F.relu(m.a(x) + x), a=nn.Conv2d(3, 3, 1)), IMAGE,
     ["conv2d", "add", "relu"]),
    ("in-place residual", lambda: Forward(lambda m, x: m.a(x).add_(x).relu_(), a=nn.Conv2d(3, 3, 1)), IMAGE,
     ["conv2d", "add", "relu"]),
    ("add number", lambda: Forward(lambda m, x: 1.5 + x), IMAGE, ["add"]),
    ("add gate", lambda: Forward(lambda m, x: x + F.adaptive_avg_pool2d(x, 1)), IMAGE, ["avg_pool2d", "add"]),
    ("cat", lambda: Forward(lambda m, x: torch.cat([x, F.relu(x)], 1)), IMAGE, ["relu", "concat"]),
    ("cat of one", lambda: Forward(lambda m, x: torch.cat([F.relu(x)], -3)), IMAGE, ["relu"]),
    ("cat along width", lambda: Forward(lambda m, x: torch.cat([x, x], -1)), IMAGE, ["concat"]),
    ("dropout", lambda: nn.Sequential(nn.Dropout(), nn.ReLU(), nn.Dropout2d()), IMAGE, ["relu"]),
    ("identity", lambda: nn.Sequential(nn.Identity(), nn.ReLU()), IMAGE, ["relu"]),
    ("argmax", lambda: Forward(lambda m, x: torch.argmax(m.a(x), 1), a=nn.Linear(5, 4)), (5,), ["linear", "top_k"]),
    ("top three", lambda: Forward(lambda m, x: m.a(x).topk(3)[1], a=nn.Linear(5, 4)), (5,), ["linear", "top_k"]),
    ("top value", lambda: Forward(lambda m, x: x.topk(1, 2)[0]), IMAGE, ["reduce_max"]),
    ("tied weights", tied, (4,), ["linear", "linear"]),
    ("shared module", lambda: Forward(lambda m, x: m.a(m.a(x)), a=nn.Linear(4, 4)), (4,), ["linear", "linear"]),
    ("channels last", channels_last, IMAGE, ["conv2d"]),
    ("computed weight", lambda: Forward(lambda m, x: F.linear(x, m.a.weight - m.a.weight.mean()), a=nn.Linear(4, 3)),
     (4,), ["linear"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def imported() -> dict[str, tuple[nn.Module, Graph]]:
    """Every case's network and Graph; those of one input shape come from one trace."""
    found: dict[str, tuple[nn.Module, Graph]] = {}
    for shape in dict.fromkeys(case[2] for case in CASES):
        networks = {name: make() for name, make, sample, _ in CASES if sample == shape}
        graphs = import_many(list(networks.values()), shape)
        found |= {name: (networks[name], graph) for name, graph in zip(networks, graphs, strict=True)}
    return found


@pytest.mark.parametrize(("name", "shape", "expected"), [(name, shape, ops) for name, _, shape, ops in CASES])
def test_equals_eager_with_these_operations(
    imported: dict[str, tuple[nn.Module, Graph]], name: str, shape: tuple[int, ...], expected: list[str]
) -> None:
    module, graph = imported[name]
    assert_equal_to_eager(graph, module, torch.randn(BATCH, *shape))
    assert op_names(graph) == expected


def test_outputs_in_a_dict() -> None:
    graph = check_import(Forward(lambda m, x: {"out": F.relu(x), "aux": x + 1.0}), IMAGE)
    assert op_names(graph) == ["relu", "add"]


def test_a_forward_that_writes_to_its_input() -> None:
    assert op_names(check_import(Forward(lambda m, x: F.relu_(x) + 1.0), IMAGE)) == ["relu", "add"]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)) + x)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU6(), Residual(), nn.MaxPool2d(2))
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.head(torch.flatten(x, 1))  # type: ignore[no-any-return]


def line_of(kind: type, text: str) -> int:
    lines, first = inspect.getsourcelines(kind)
    return next(first + i for i, line in enumerate(lines) if text in line)


def test_names_and_places_are_those_of_the_model() -> None:
    graph = import_module(randomise(Small()), (1, 1, 6, 6), "small", HERE)
    body, tail = line_of(Residual, "F.relu"), line_of(Small, "self.head(")
    features = line_of(Small, "self.features(x)")
    assert (
        print_graph(graph).replace(str(HERE), "model.py")
        == f"""\
graph small
%x = input : f32[1,1,6,6]
%features.0.weight = const : f32[4,1,3,3]
%features.0.bias = const : f32[4]
%features.2.conv.weight = const : f32[4,4,3,3]
%features.2.conv.bias = const : f32[4]
%head.weight = const : f32[3,16]
%head.bias = const : f32[3]
%features.0 = conv2d(%x, %features.0.weight, %features.0.bias) : f32[1,4,4,4] @ "model.py":{features} "features.0"
%features.1 = clip(%features.0) {{lo=0.0, hi=6.0}} : f32[1,4,4,4] @ "model.py":{features} "features.1"
%features.2.conv = conv2d(%features.1, %features.2.conv.weight, %features.2.conv.bias) \
{{padding=[[1,1],[1,1]]}} : f32[1,4,4,4] @ "model.py":{body} "features.2.conv"
%features.2.add = add(%features.2.conv, %features.1) : f32[1,4,4,4] @ "model.py":{body} "features.2"
%features.2.relu = relu(%features.2.add) : f32[1,4,4,4] @ "model.py":{body} "features.2"
%features.3 = max_pool2d(%features.2.relu) {{kernel=[2,2], stride=[2,2]}} : f32[1,4,2,2] @ "model.py":{features} \
"features.3"
%reshape = reshape(%features.3) {{shape=[1,16]}} : f32[1,16] @ "model.py":{tail} ""
%head = linear(%reshape, %head.weight, %head.bias) : f32[1,3] @ "model.py":{tail} "head"
return %head
"""
    )


def test_the_same_model_gives_the_same_text_twice() -> None:
    texts = {print_graph(import_module(Small().eval(), (1, 1, 6, 6), "small")) for _ in range(2)}
    assert len(texts) == 1


def test_weights_are_views_of_the_module() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    graph = import_module(module, (1, 4), "net")
    assert {const.data.data_ptr() for const in graph.consts} == {p.data_ptr() for p in module.parameters()}


def test_tied_weights_are_one_constant() -> None:
    graph = import_module(tied().eval(), (1, 4), "net")
    (weight,) = (const for const in graph.consts if len(const.type.shape) == 2)
    assert [node.args[1] for node in graph.nodes] == [weight.name, weight.name]


def test_a_program_is_imported_as_its_module_is() -> None:
    module = randomise(Small())
    exported = torch.export.export(module, (torch.zeros(1, 1, 6, 6),))
    graph = import_program(exported, "small", HERE)
    assert print_graph(graph) == print_graph(import_module(module, (1, 1, 6, 6), "small", HERE))
    assert_equal_to_eager(graph, module, torch.randn(2, 1, 6, 6))


def test_a_program_with_two_inputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    exported = torch.export.export(Two().eval(), (torch.zeros(1, 3), torch.zeros(1, 3)))
    assert [value.name for value in import_program(exported, "two").inputs] == ["x", "y"]


def refusal(module: nn.Module, shape: tuple[int, ...] = (1, 1, 6, 6)) -> ToolError:
    with pytest.raises(ToolError) as caught:
        import_module(module, shape, "net", HERE)
    return caught.value


def test_training_mode_is_refused() -> None:
    module = Small().eval()
    module.get_submodule("features.2.norm").train()
    assert str(refusal(module)) == (
        "error[training-mode]: features.2.norm is in training mode\n"
        f"  --> {HERE} (features.2.norm)\n"
        "  help: call model.eval() before returning the model"
    )
    assert "the model is in training mode, and 8 more modules" in str(refusal(Small()))


class Unsupported(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.erfinv(x) + torch.lgamma(x).cumsum(1)


def test_every_unsupported_operation_is_named_with_its_place() -> None:
    error = refusal(nn.Sequential(nn.ReLU(), Unsupported()).eval())
    place = Location(str(HERE), line_of(Unsupported, "erfinv"), "1")
    assert [(found.slug, found.message, found.location) for found in error.diagnostics] == [
        ("unsupported-op", f"aten.{name}.default is not supported", place) for name in ("erfinv", "lgamma", "cumsum")
    ]


def test_weights_without_a_shape_are_refused() -> None:
    with pytest.raises(ToolError) as caught:
        import_module(nn.Sequential(nn.LazyLinear(4)).eval(), (1, 4), "net", HERE)
    assert str(caught.value) == (
        f"error[uninitialised-weights]: 0.weight is lazy and has no shape yet\n  --> {HERE} (0)\n"
        "  help: give the layer its sizes, or run the model once on a sample before it is returned"
    )


def test_state_that_forward_writes_is_refused() -> None:
    class Counts(nn.Module):
        seen: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.seen += 1
            return x * self.seen

    assert refusal(Counts().eval()).diagnostics[0].message == (
        "the model writes its own seen; a network without state is expected"
    )


def test_a_wrong_input_shape_names_the_failing_module() -> None:
    found = refusal(Small().eval(), (1, 1, 9, 9)).diagnostics[0]
    assert found.slug == "model-raised"
    assert found.location == Location(str(HERE), line_of(Small, "self.head("), "head")
    assert found.message.endswith("for an input of shape [1, 1, 9, 9]")


def test_a_forward_that_raises_its_own_exception() -> None:
    class Odd(Exception):  # noqa: N818  # as users name them
        pass

    class Raises(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise Odd("not today")

    found = refusal(nn.Sequential(nn.ReLU(), Raises()).eval()).diagnostics[0]
    assert found.location == Location(str(HERE), line_of(Raises, "raise Odd"), "1")
    assert found.message == "the model's forward raises Odd: not today for an input of shape [1, 1, 6, 6]"


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((2, 4), "one sample, such as [1, 3, 32, 32], not [2, 4]"),
        ((1,), "not [1]"),
        ((), "not []"),
        ((1, -3), "not [1, -3]"),
        ((1, 2**16, 2**16), "a sample has at most 2147483647 values, not 4294967296: [1, 65536, 65536]"),
        ((1, 10**24), "[1, 1000000000000000000000000]"),
    ],
)
def test_an_input_shape_that_is_no_sample(shape: tuple[int, ...], text: str) -> None:
    error = refusal(nn.Linear(4, 3).eval(), shape)
    assert error.diagnostics[0].slug == "input-shape"
    assert text in str(error)


def test_several_inputs_are_refused_by_name() -> None:
    class Two(nn.Module):
        def forward(self, image: Tensor, mask: Tensor, scale: float = 1.0) -> Tensor:
            return image * mask * scale

    assert refusal(Two().eval()).diagnostics[0].message == (
        "forward takes 2 inputs (image, mask); exactly one is expected"
    )


@pytest.mark.parametrize(
    ("dtype", "slug"),
    [
        (torch.float16, "wrong-dtype"),
        (torch.bfloat16, "wrong-dtype"),
        (torch.float64, "wrong-dtype"),
        (torch.complex64, "complex-dtype"),
    ],
)
def test_other_number_formats_are_refused(dtype: torch.dtype, slug: str) -> None:
    layer = nn.Linear(6, 3)
    layer.weight = nn.Parameter(layer.weight.to(dtype))
    found = refusal(nn.Sequential(layer).eval()).diagnostics[0]
    assert (found.slug, found.location.module) == (slug, "0")
    assert str(dtype) in found.message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    module = nn.Linear(4, 3).eval()
    with torch.no_grad():
        module.weight[1, 2] = value
    assert refusal(module, (1, 4)).diagnostics[0].message == "weight has 1 NaN or infinite values of 12"


def test_dynamic_shapes_are_refused() -> None:
    exported = torch.export.export(
        nn.ReLU().eval(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes={"input": {2: Dim("height", min=2, max=64)}}
    )
    with pytest.raises(ToolError) as caught:
        import_program(exported, "net")
    assert caught.value.diagnostics[0].slug == "dynamic-shape"


@pytest.mark.parametrize("output", [3, None, 0.5])
def test_an_output_that_is_no_tensor_is_refused(output: object) -> None:
    found = refusal(Forward(lambda m, x: (x + 1.0, output)).eval()).diagnostics[0]
    assert (found.slug, found.message) == (
        "constant-output",
        "an output of the model is a plain number or None, not a tensor",
    )


def test_a_constant_output_is_refused() -> None:
    module = Forward(lambda m, x: (x + 1.0, m.a.weight * 2), a=nn.Linear(2, 2)).eval()
    assert refusal(module).diagnostics[0].slug == "constant-output"


def test_batch_norm_without_statistics_is_refused() -> None:
    found = refusal(nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False)).eval()).diagnostics[0]
    assert (found.slug, found.location.module) == ("unsupported-op", "0")


def test_an_unsupported_second_result_is_refused() -> None:
    found = refusal(Forward(lambda m, x: x.max(1)[1] * x[:, 0]).eval()).diagnostics[0]
    assert found.message == "aten.max.dim is not supported here: its result number 2 is used"


def test_a_branch_on_values_is_refused() -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1 if x.sum() > 0 else x

    found = refusal(nn.Sequential(Branch()).eval()).diagnostics[0]
    assert found.location == Location(str(HERE), line_of(Branch, "return x + 1"), "0")


def test_a_recurrent_layer_is_refused_as_one_operation() -> None:
    module = Forward(lambda m, x: m.lstm(x)[0], lstm=nn.LSTM(6, 4, batch_first=True)).eval()
    (found,) = refusal(module, (1, 3, 6)).diagnostics
    assert (found.message, found.location.module) == ("aten.lstm.input is not supported", "lstm")
    assert found.hint == "recurrent networks are not supported; use convolutions or attention"
