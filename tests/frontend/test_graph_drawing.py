from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from torch import nn

from bitkiln.cli import main
from bitkiln.frontend.graph_drawing import draw_graph
from bitkiln.frontend.torch_import import import_module
from tests.frontend.micro_models import Forward

SVG = "{http://www.w3.org/2000/svg}"


def drawing(module: nn.Module, shape: tuple[int, ...]) -> ElementTree.Element:
    return ElementTree.fromstring(draw_graph(import_module(module.eval(), (1, *shape), "net")))


def residual() -> nn.Module:
    parts = {"a": nn.Conv2d(3, 3, 3, padding=1), "b": nn.Conv2d(3, 3, 1)}
    return Forward(lambda m, x: m.b(m.a(x).relu()) + x, **parts)


def test_every_value_has_a_box_with_its_type() -> None:
    texts = [text.text for text in drawing(residual(), (3, 4, 4)).iter(f"{SVG}text")]
    assert texts == [
        *("x", "input f32[1,3,4,4]", "a", "conv2d f32[1,3,4,4]", "relu", "relu f32[1,3,4,4]"),
        *("b", "conv2d f32[1,3,4,4]", "add", "add f32[1,3,4,4]", "output 1"),
    ]


def test_boxes_stand_below_what_they_read_and_do_not_overlap() -> None:
    boxes = [
        tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        for box in drawing(residual(), (3, 4, 4)).iter(f"{SVG}rect")
        if "%" not in box.attrib["width"]
    ]
    assert len(boxes) == 6
    rows = [y for _, y, _, _ in boxes]
    assert rows == sorted(rows)
    for i, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[i + 1 :]:
            assert (
                x + width <= other_x
                or other_x + other_width <= x
                or y + height <= other_y
                or other_y + other_height <= y
            )


def test_an_edge_over_several_rows_passes_beside_the_boxes() -> None:
    root = drawing(residual(), (3, 4, 4))
    lanes = [float(x) for path in root.iter(f"{SVG}path") for x in re.findall(r"^M([\d.\-]+),", path.attrib["d"])]
    boxes = {box.attrib["class"]: box.attrib for box in root.iter(f"{SVG}rect")}
    conv = boxes["product"]
    outside = [x for x in lanes if not float(conv["x"]) <= x <= float(conv["x"]) + float(conv["width"])]
    assert len(outside) == 3  # the lane of x passes three rows


def test_names_are_escaped_and_long_ones_cut() -> None:
    graph = import_module(nn.Sequential(nn.ReLU()).eval(), (1, 4), "a")
    assert "<title>a</title>" in draw_graph(graph)
    deep: nn.Module = nn.ReLU()
    for _ in range(20):
        deep = nn.Sequential(deep)
    texts = [text.text or "" for text in drawing(deep, (4,)).iter(f"{SVG}text")]
    assert texts[2].startswith("…")
    assert max(map(len, texts)) <= 34


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.py").write_text("from torch import nn\n\n\ndef build():\n    return nn.Linear(4, 3)\n")
    target = tmp_path / "net.svg"
    assert main(["import", f"{tmp_path}/model.py:build", "--input-size", "1,4", "--svg", str(target)]) == 0
    capsys.readouterr()
    assert ElementTree.parse(target).getroot().tag == f"{SVG}svg"
