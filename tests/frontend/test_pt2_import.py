"""Saved programs: the same graph as through the torch door, views of the file, and no damaged file gets through."""

from __future__ import annotations

import json
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from bitkiln.frontend.pt2_import import import_pt2
from bitkiln.frontend.torch_import import import_module
from bitkiln.ir import ToolError, print_graph
from tests.frontend.micro_models import Forward, assert_equal_to_eager, randomise


class Network(nn.Module):
    """What an exported program writes otherwise than a decomposed one: in-place, dropout, batch norm, chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding="same"), nn.BatchNorm2d(8), nn.ReLU6(inplace=True), nn.Dropout2d()
        )
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.LogSoftmax(1))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.features(x).chunk(2, 1)
        joined = first + 1.0
        joined += F.hardswish(second)
        return self.head(self.pool(joined)[:, :, :3])  # type: ignore[no-any-return]


SHAPE = (1, 1, 6, 6)


def save(module: nn.Module, path: Path, shape: tuple[int, ...] = SHAPE) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch does not like to save tied weights
        torch.export.save(torch.export.export(module.eval(), (torch.zeros(shape),)), path)
    return path


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(1)
    return randomise(Network())


@pytest.fixture(scope="module")
def saved(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(network, tmp_path_factory.mktemp("saved") / "net.pt2")


def test_the_graph_is_that_of_the_torch_door(network: nn.Module, saved: Path) -> None:
    graph = import_pt2(saved)
    assert print_graph(graph) == print_graph(import_module(network, SHAPE, "net"))
    assert_equal_to_eager(graph, network, torch.randn(3, *SHAPE[1:]))


def test_a_decomposed_program_gives_the_same_graph(network: nn.Module, saved: Path, tmp_path: Path) -> None:
    exported = torch.export.export(network, (torch.zeros(SHAPE),)).run_decompositions({})
    torch.export.save(exported, tmp_path / "net.pt2")
    assert print_graph(import_pt2(tmp_path / "net.pt2")) == print_graph(import_pt2(saved))


def test_a_core_aten_program_computes_the_same(network: nn.Module, tmp_path: Path) -> None:
    exported = torch.export.export(network, (torch.zeros(SHAPE),)).run_decompositions()
    torch.export.save(exported, tmp_path / "net.pt2")
    assert_equal_to_eager(import_pt2(tmp_path / "net.pt2"), network, torch.randn(3, *SHAPE[1:]))


def test_the_torch_module_is_not_needed_for_reading(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("the file was read by torch")

    monkeypatch.setattr(torch, "load", forbidden)
    monkeypatch.setattr(torch.export, "load", forbidden)
    import_pt2(saved)


def test_tied_and_channels_last_weights(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 3, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.b = nn.Conv2d(3, 3, 3, padding=1)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x))  # type: ignore[no-any-return]

    module = Tied().eval()
    graph = import_pt2(save(module, tmp_path / "tied.pt2", (1, 3, 6, 6)))
    assert len({node.args[1] for node in graph.nodes}) == 1
    assert_equal_to_eager(graph, module, torch.randn(2, 3, 6, 6))


def test_infinite_arguments_and_tensor_constants(tmp_path: Path) -> None:
    module = Forward(lambda m, x: F.pad(x, (1, 0, 0, 0), value=float("-inf")).clamp(min=-9.0) + torch.arange(7.0))
    assert_equal_to_eager(import_pt2(save(module, tmp_path / "m.pt2")), module, torch.randn(2, *SHAPE[1:]))


def refusal(path: Path) -> ToolError:
    with pytest.raises(ToolError) as caught:
        import_pt2(path)
    return caught.value


def test_writing_through_a_view_is_refused(tmp_path: Path) -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = x + 1.0
        y[:, 0] = 0.0
        return y * 2.0

    error = refusal(save(Forward(forward), tmp_path / "m.pt2"))
    assert error.diagnostics[0].slug == "writes-view"
    assert error.diagnostics[0].hint == "save exported.run_decompositions({}) instead"


def test_a_dropout_result_is_its_argument(tmp_path: Path) -> None:
    """In evaluation mode dropout returns its argument, so the write changes both."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = x + 1.0
        z = F.dropout(y, training=False)
        z.relu_()
        return y * z

    assert refusal(save(Forward(forward), tmp_path / "m.pt2")).diagnostics[0].slug == "writes-view"


def test_an_unsupported_operation_names_its_place_and_the_way_out(tmp_path: Path) -> None:
    module = nn.Sequential(nn.ReLU(), Forward(lambda m, x: torch.erfinv(x)))
    found = refusal(save(module, tmp_path / "m.pt2")).diagnostics[0]
    assert (found.message, found.location.module) == ("aten.erfinv.default is not supported", "1")
    assert found.hint == "save exported.run_decompositions({}), which has fewer kinds of operations"


def test_a_dynamic_batch_is_refused(tmp_path: Path) -> None:
    exported = torch.export.export(nn.ReLU().eval(), (torch.zeros(2, 3),), dynamic_shapes={"input": {0: Dim("n")}})
    torch.export.save(exported, tmp_path / "m.pt2")
    assert refusal(tmp_path / "m.pt2").diagnostics[0].slug == "dynamic-shape"


def test_training_mode_is_refused(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    torch.export.save(torch.export.export(module, (torch.zeros(SHAPE),)), tmp_path / "m.pt2")
    assert str(refusal(tmp_path / "m.pt2")) == (
        "error[unsupported-op]: aten.batch_norm.default is not supported here: the model is in training mode\n"
        "  --> 1\n"
        "  help: call model.eval() before the export"
    )


def test_a_batch_of_several_is_refused(tmp_path: Path) -> None:
    assert str(refusal(save(nn.ReLU(), tmp_path / "m.pt2", (2, 3)))) == (
        "error[input-shape]: the program was exported for an input of [2, 3]; its first size must be 1\n"
        "  help: export the model with one sample as its example input"
    )


def rewritten(source: Path, target: Path, edit: Callable[[str, bytes], bytes | None]) -> Path:
    """Copy the archive with changed members; None leaves one out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = edit(name.partition("/")[2], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def edited_json(member: str, change: Callable[[Any], object]) -> Callable[[str, bytes], bytes]:
    def edit(name: str, content: bytes) -> bytes:
        if not name.endswith(member):
            return content
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return edit


def test_an_unaligned_file_of_another_writer(network: nn.Module, saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "net.pt2", lambda name, content: content)
    assert_equal_to_eager(import_pt2(path), network, torch.randn(2, *SHAPE[1:]))


def weight(document: Any) -> Any:
    return document["config"]["features.0.weight"]


def node(document: Any, index: int = 0) -> Any:
    return document["graph_module"]["graph"]["nodes"][index]


def sizes(document: Any) -> Any:
    return document["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]


WEIGHTS, MODEL = "model_weights_config.json", "models/model.json"


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda name, content: None if name == "archive_format" else content, "has no archive_format pt2"),
        (lambda name, content: b"big" if name == "byteorder" else content, "is not little-endian"),
        (lambda name, content: None if name == MODEL else content, "must hold one program, not 0"),
        (lambda name, content: b"{" if name == MODEL else content, "models/model.json is no JSON"),
        (lambda name, content: b"[" * 10**5 if name == MODEL else content, "nested too deeply"),
        (lambda name, content: None if name.endswith("weight_0") else content, "has no data/weights/weight_0"),
        (lambda name, content: content[:-4] if name.endswith("weight_0") else content, "does not fit its 71 stored"),
        (lambda name, content: content[:-1] if name.endswith("weight_0") else content, "no whole elements"),
        (edited_json(WEIGHTS, lambda d: weight(d).update(use_pickle=True)), "is stored as a pickle"),
        (edited_json(WEIGHTS, lambda d: weight(d)["tensor_meta"].update(dtype=99)), "of a known element type"),
        (edited_json(WEIGHTS, lambda d: weight(d)["tensor_meta"]["strides"][0].update(as_int=99)), "does not fit"),
        (edited_json(WEIGHTS, lambda d: weight(d)["tensor_meta"]["strides"][0].update(as_int=-1)), "does not fit"),
        (edited_json(WEIGHTS, lambda d: weight(d)["tensor_meta"]["strides"][1].update(as_int=2**70)), "does not fit"),
        (edited_json(MODEL, lambda d: sizes(d)[0].update(as_int=2**70)), "is impossible"),
        (edited_json(MODEL, lambda d: d["schema_version"].update(major=9)), "has schema 9; schema 8"),
        (edited_json(MODEL, lambda d: node(d)["inputs"].pop(1)), "needs the argument 'weight'"),
        (edited_json(MODEL, lambda d: node(d)["inputs"][0]["arg"]["as_tensor"].update(name="y")), "reads y, which is"),
        (edited_json(MODEL, lambda d: node(d)["inputs"][3].update(arg={"as_ints": [0, 0]})), "does not fit its"),
        (
            edited_json(MODEL, lambda d: node(d).update(target="torch.ops.aten.relu.default")),
            "needs the argument 'self'",
        ),
        (edited_json(MODEL, lambda d: node(d).update(target="torch.ops.os.system")), "os.system is not supported"),
        (edited_json(MODEL, lambda d: node(d, -1).update(target=7)), "expected str under 'target'"),
        (edited_json(MODEL, lambda d: d["graph_module"]["graph"]["tensor_values"].pop("x")), "expected dict under 'x'"),
    ],
)
def test_damaged_archives(saved: Path, tmp_path: Path, edit: Callable[[str, bytes], bytes | None], text: str) -> None:
    error = refusal(rewritten(saved, tmp_path / "net.pt2", edit))
    assert text in error.diagnostics[0].message


def test_no_archive(tmp_path: Path) -> None:
    (tmp_path / "text.pt2").write_text("hello")
    assert "is no .pt2 file" in str(refusal(tmp_path / "text.pt2"))
    assert refusal(tmp_path / "absent.pt2").diagnostics[0].slug == "missing-file"


def test_random_damage_ends_in_a_diagnostic(saved: Path, tmp_path: Path) -> None:
    """Bytes anywhere; a file whose weights alone changed may still be a program."""
    original, chance = saved.read_bytes(), random.Random(7)
    refused = 0
    for _ in range(60):
        data = bytearray(original)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.2:
            data = data[: chance.randrange(len(data))]
        (tmp_path / "net.pt2").write_bytes(data)
        try:
            import_pt2(tmp_path / "net.pt2")
        except ToolError:
            refused += 1
    assert refused > 20


def test_random_edits_of_the_program_end_in_a_diagnostic(saved: Path, tmp_path: Path) -> None:
    chance = random.Random(11)
    values: tuple[object, ...] = (0, -1, 3, 2**40, 1.5, "x", None, True, [], {}, [1, 2])
    refused = 0
    for _ in range(120):

        def change(document: Any) -> None:
            place = document["graph_module"]["graph"]["nodes"]
            for call in place:
                call["metadata"] = {}
            while isinstance(place, dict | list) and place:
                keys = list(place) if isinstance(place, dict) else list(range(len(place)))
                key = chance.choice(keys)
                if not isinstance(place[key], dict | list) or chance.random() < 0.1:
                    place[key] = chance.choice(values)
                    return
                place = place[key]

        path = rewritten(saved, tmp_path / "net.pt2", edited_json(MODEL, change))
        try:
            import_pt2(path)
        except ToolError:
            refused += 1
    assert refused > 40
