"""The traps of the import study, each as a network of its own: what exporters write in a way that is easily misread.

Every network goes through the torch door and, saved, through the `.pt2` door, and equals eager PyTorch on a batch.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from bitkiln.frontend.pt2_import import import_pt2
from bitkiln.frontend.torch_import import import_module
from bitkiln.ir import Graph, ToolError, evaluate
from bitkiln.ir.ops import AvgPool2d, Conv2d, MaxPool2d
from tests.frontend.micro_models import Forward, assert_equal_to_eager, check_import, randomise
from tests.frontend.test_pt2_import import edited_json, rewritten

IMAGE = (3, 7, 9)


def saved(module: nn.Module, shape: tuple[int, ...], folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch does not like to save tied weights
        exported = torch.export.export(module.eval(), (torch.zeros(1, *shape),)).run_decompositions({})
        torch.export.save(exported, folder / "net.pt2")
    return folder / "net.pt2"


def through_both_doors(module: nn.Module, shape: tuple[int, ...], folder: Path) -> Graph:
    graph = check_import(module, shape)
    assert_equal_to_eager(import_pt2(saved(module, shape, folder)), module, torch.randn(3, *shape))
    return graph


def ops(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def refusal(module: nn.Module, shape: tuple[int, ...] = IMAGE) -> ToolError:
    with pytest.raises(ToolError) as caught:
        import_module(module, (1, *shape), "net")
    return caught.value


def test_trap_writing_through_a_view(tmp_path: Path) -> None:
    """`y[:, 0] = ...` writes into a view; later users still name y."""

    def forward(module: nn.Module, x: Tensor) -> Tensor:
        y = x * 2.0
        y[:, 0] = x[:, 1] + 1.0
        y[:, 1:].relu_()
        return y + 1.0

    through_both_doors(Forward(forward), IMAGE, tmp_path)


def test_trap_in_place_on_the_input(tmp_path: Path) -> None:
    """The mutated input is an output of the program, but none of the model."""
    graph = through_both_doors(Forward(lambda m, x: x.relu_() + 1.0), IMAGE, tmp_path)
    assert len(graph.outputs) == 1


def test_trap_ceil_mode_with_padding_on_the_right(tmp_path: Path) -> None:
    """A window that would begin behind the right padding is dropped."""
    graph = through_both_doors(nn.MaxPool2d(2, 3, 1, ceil_mode=True), (3, 6, 8), tmp_path)
    assert graph.nodes[0].op == MaxPool2d((2, 2), (3, 3), (1, 1), (1, 1), ceil_mode=True)
    assert graph.nodes[0].type.shape == (1, 3, 3, 3)  # a fourth column would begin at 9, behind 8 + 1


def test_trap_average_without_its_padding(tmp_path: Path) -> None:
    """count_include_pad=False divides windows at the edge by fewer elements."""
    graph = through_both_doors(nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), IMAGE, tmp_path)
    assert graph.nodes[0].op == AvgPool2d((3, 3), (2, 2), (1, 1), ceil_mode=True, count_include_pad=False)


def test_trap_same_padding_of_an_even_kernel(tmp_path: Path) -> None:
    """The odd row and column of padding go behind the image."""
    graph = through_both_doors(nn.Conv2d(3, 4, (4, 2), padding="same"), IMAGE, tmp_path)
    assert isinstance(graph.nodes[0].op, Conv2d)
    assert graph.nodes[0].op.padding == ((1, 2), (0, 1))


def test_trap_negative_padding_crops(tmp_path: Path) -> None:
    graph = through_both_doors(Forward(lambda m, x: F.pad(x, (-2, 1, 0, -3))), IMAGE, tmp_path)
    assert graph.types[graph.outputs[0]].shape == (1, 3, 4, 8)


def test_trap_cat_of_one(tmp_path: Path) -> None:
    assert ops(through_both_doors(Forward(lambda m, x: torch.cat([x.relu()], -1)), IMAGE, tmp_path)) == ["relu"]


def test_trap_padding_with_minus_infinity(tmp_path: Path) -> None:
    """JSON writes the number as a text."""
    pooled = Forward(lambda m, x: F.max_pool2d(F.pad(x - 9.0, (1, 0, 0, 1), value=-torch.inf), 2))
    through_both_doors(pooled, IMAGE, tmp_path)


def test_trap_tied_weights(tmp_path: Path) -> None:
    """One tensor under two names is one constant, here and in the file."""
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    second.weight = first.weight
    graph = through_both_doors(nn.Sequential(first, nn.ReLU(), second), (5,), tmp_path)
    assert len({node.args[1] for node in graph.nodes if node.op.name == "linear"}) == 1
    found = import_pt2(tmp_path / "net.pt2")
    assert len({node.args[1] for node in found.nodes if node.op.name == "linear"}) == 1


def test_trap_channels_last_weights(tmp_path: Path) -> None:
    """Their strides are not those of their shape."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 2))
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    graph = through_both_doors(module, IMAGE, tmp_path)
    assert not all(const.data.is_contiguous() for const in graph.consts)


def test_trap_bfloat16(tmp_path: Path) -> None:
    """There is no bfloat16 in hardware: the model must say that it may be float32."""
    message = "weight is torch.bfloat16, expected torch.float32"
    assert refusal(nn.Linear(4, 3).bfloat16().eval(), (4,)).diagnostics[0].message == message
    exported = torch.export.export(nn.Linear(4, 3).bfloat16().eval(), (torch.zeros(1, 4, dtype=torch.bfloat16),))
    torch.export.save(exported, tmp_path / "net.pt2")
    with pytest.raises(ToolError) as caught:
        import_pt2(tmp_path / "net.pt2")
    assert caught.value.diagnostics[0].slug == "wrong-dtype"


def test_trap_outputs_in_a_dict(tmp_path: Path) -> None:
    """They are flattened in the order of their keys in the dict, as segmentation networks have them."""
    graph = through_both_doors(Forward(lambda m, x: {"out": x + 1.0, "aux": x.relu()}), IMAGE, tmp_path)
    assert [graph.node[name].op.name for name in graph.outputs] == ["add", "relu"]


def test_trap_unused_piece_of_a_split(tmp_path: Path) -> None:
    graph = through_both_doors(Forward(lambda m, x: x.split([2, 4, 3], 3)[1] * 2.0), IMAGE, tmp_path)
    assert ops(graph) == ["slice", "mul"]


@pytest.mark.parametrize("is_bool", [True, False])
def test_trap_attention_with_a_mask(is_bool: bool, tmp_path: Path) -> None:
    """A bool mask says what may stay, a float mask is added."""
    mask = torch.ones(6, 6).tril()
    chosen = mask.bool() if is_bool else mask * 3.0
    module = Forward(lambda m, x: F.scaled_dot_product_attention(x, x, x, chosen))
    assert ops(through_both_doors(module, (2, 6, 4), tmp_path)) == ["attention"]


def test_trap_dynamic_batch(tmp_path: Path) -> None:
    """A batch that is open is not a size that is known at run time only: samples do not depend on each other."""
    module = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(140, 2)))
    shapes = ({0: Dim("batch", min=1, max=64)},)
    exported = torch.export.export(module, (torch.zeros(2, *IMAGE),), dynamic_shapes=shapes)
    torch.export.save(exported, tmp_path / "net.pt2")
    with pytest.raises(ToolError) as caught:
        import_pt2(tmp_path / "net.pt2")
    (found,) = caught.value.diagnostics
    assert (found.slug, found.hint) == (
        "dynamic-shape",
        "export the model without dynamic_shapes, for one fixed input size",
    )
    graph = import_module(module, (1, *IMAGE), "net")
    assert_equal_to_eager(graph, module, torch.randn(5, *IMAGE))


def test_trap_symbolic_height_and_width(tmp_path: Path) -> None:
    size = Dim("size", min=7, max=64)
    exported = torch.export.export(
        nn.ReLU().eval(), (torch.zeros(1, 3, 8, 8),), dynamic_shapes={"input": {2: size, 3: size}}
    )
    torch.export.save(exported, tmp_path / "net.pt2")
    with pytest.raises(ToolError) as caught:
        import_pt2(tmp_path / "net.pt2")
    assert caught.value.diagnostics[0].slug == "dynamic-shape"


def test_trap_batch_norm_without_scale_or_behind_a_shared_convolution(tmp_path: Path) -> None:
    """Without weights it folds; into a convolution that others read as well it must not."""
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False))
    assert ops(through_both_doors(plain, IMAGE, tmp_path)) == ["conv2d"]
    parts = {"c": nn.Conv2d(3, 4, 3), "n": nn.BatchNorm2d(4)}
    shared = Forward(lambda m, x: torch.add(*[f(y) for y in [m.c(x)] for f in (m.n, torch.clone)]), **parts)
    assert ops(through_both_doors(shared, IMAGE, tmp_path)) == ["conv2d", "scale_shift", "add"]


def test_trap_batch_norm_in_front_of_relu(tmp_path: Path) -> None:
    """Pre-activation: nothing to fold into, so a scale and shift stays."""
    module = nn.Sequential(nn.BatchNorm2d(3, eps=1e-3), nn.ReLU(), nn.Conv2d(3, 4, 3))
    assert ops(through_both_doors(module, IMAGE, tmp_path)) == ["scale_shift", "relu", "conv2d"]


def test_trap_computed_weights(tmp_path: Path) -> None:
    """Weight standardisation is in the program; it folds to constants."""
    linear = nn.Linear(6, 4)
    module = Forward(
        lambda m, x: F.linear(x, (m.a.weight - m.a.weight.mean(1, True)) / m.a.weight.std(1, keepdim=True))
    )
    module.a = linear
    assert ops(through_both_doors(module, (6,), tmp_path)) == ["linear"]


def test_trap_view_of_a_strided_tensor(tmp_path: Path) -> None:
    """A view is a reshape of the rows as they are read, whatever the strides are: contiguous() may go."""
    module = Forward(lambda m, x: x.permute(0, 2, 3, 1).contiguous().view(-1, 21, 9))
    assert ops(through_both_doors(module, IMAGE, tmp_path)) == ["permute", "reshape"]


def test_trap_dropout_in_evaluation_mode(tmp_path: Path) -> None:
    assert ops(through_both_doors(nn.Sequential(nn.Dropout(), nn.ReLU(), nn.Dropout2d()), IMAGE, tmp_path)) == ["relu"]


def test_trap_dropout_in_place_writes_nothing_in_evaluation_mode(tmp_path: Path) -> None:
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(inplace=True), nn.Linear(3, 2))
    assert ops(through_both_doors(module, IMAGE, tmp_path)) == ["avg_pool2d", "reshape", "linear"]


def test_trap_a_bias_without_a_weight(tmp_path: Path) -> None:
    """The second argument of the operation is not its first constant."""

    class Shift(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(9))

        def forward(self, x: Tensor) -> Tensor:
            return F.layer_norm(x, (9,), None, self.bias)

    through_both_doors(Shift(), IMAGE, tmp_path)


def test_trap_training_mode_is_refused() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    module[1].train()
    (found,) = refusal(module).diagnostics
    assert (found.slug, found.location.module) == ("training-mode", "1")


def test_trap_lstm_is_refused_as_one_operation() -> None:
    (found,) = refusal(Forward(lambda m, x: m.lstm(x)[0], lstm=nn.LSTM(6, 4)).eval(), (3, 6)).diagnostics
    assert (found.message, found.location.module) == ("aten.lstm.input is not supported", "lstm")


def test_trap_index_put_is_refused() -> None:
    def forward(module: nn.Module, x: Tensor) -> Tensor:
        y = x + 1.0
        y[:, [0, 2]] = 0.5
        return y

    (found,) = refusal(Forward(forward).eval()).diagnostics
    assert found.message == "aten.index_put.default is not supported"
    assert found.hint == "write into slices (y[:, 2:4] = ...), or use torch.cat"


def test_trap_pickled_tensors_are_refused(tmp_path: Path) -> None:
    path = saved(nn.Linear(4, 3), (4,), tmp_path)
    edit = edited_json("model_weights_config.json", lambda d: d["config"]["weight"].update(use_pickle=True))
    with pytest.raises(ToolError) as caught:
        import_pt2(rewritten(path, tmp_path / "evil.pt2", edit))
    assert caught.value.diagnostics[0].slug == "pickled-tensor"


def test_trap_an_unknown_overload_is_refused(tmp_path: Path) -> None:
    def rename(document: dict[str, object]) -> None:
        graph = document["graph_module"]["graph"]  # type: ignore[index]  # JSON
        graph["nodes"][0]["target"] = "torch.ops.aten.relu.quick"

    path = saved(nn.ReLU(), (4,), tmp_path)
    with pytest.raises(ToolError) as caught:
        import_pt2(rewritten(path, tmp_path / "other.pt2", edited_json("models/model.json", rename)))
    assert caught.value.diagnostics[0].message == "aten.relu.quick is not supported"


def test_trap_another_schema_is_refused(tmp_path: Path) -> None:
    path = saved(nn.ReLU(), (4,), tmp_path)
    edit = edited_json("models/model.json", lambda d: d["schema_version"].update(major=7))
    with pytest.raises(ToolError, match="has schema 7; schema 8"):
        import_pt2(rewritten(path, tmp_path / "old.pt2", edit))


def test_trap_samples_do_not_mix() -> None:
    """Everything is traced with one sample; a batch gives for each what it gives alone."""
    graph = check_import(Forward(lambda m, x: x.reshape(-1, 9).softmax(-1).reshape(-1, 3, 7, 9)), IMAGE)
    x = torch.randn(4, *IMAGE)
    (together,) = evaluate(graph, x)
    assert torch.equal(together, torch.cat([evaluate(graph, sample[None])[0] for sample in x]))
