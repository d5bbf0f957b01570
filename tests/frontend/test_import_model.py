"""One network through every door, and what each door refuses."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from bitkiln.frontend.import_model import import_reference, model_file
from bitkiln.frontend.model_reference import load_model
from bitkiln.frontend.state import load_state
from bitkiln.ir import Graph, ToolError, evaluate, print_graph
from tests.projects import Tiny

SHAPE = (1, 1, 8, 8)


@pytest.fixture
def factory(tiny: Tiny) -> str:
    return f"{tiny.folder}/model.py:build"


@pytest.fixture
def weights(tiny: Tiny) -> Path:
    return tiny.folder / "weights.safetensors"


@pytest.fixture
def saved(factory: str, weights: Path, tmp_path: Path) -> Path:
    """The network with its weights as torch.export.save writes it."""
    module = load_model(factory)
    load_state(module, weights)
    torch.export.save(torch.export.export(module, (torch.zeros(SHAPE),)), tmp_path / "net.pt2")
    return tmp_path / "net.pt2"


def outputs(graph: Graph) -> torch.Tensor:
    (scores,) = evaluate(graph, torch.rand(5, *SHAPE[1:], generator=torch.Generator().manual_seed(0)))
    return scores


def refusal(reference: str, shape: tuple[int, ...] | None = SHAPE, weights: Path | None = None) -> str:
    with pytest.raises(ToolError) as caught:
        import_reference(reference, shape, weights)
    return str(caught.value)


def test_the_doors_agree(factory: str, weights: Path, saved: Path) -> None:
    """Up to the name and to where the model's file was, which a saved program does not tell."""
    of_source = import_reference(factory, SHAPE, weights)
    of_program = import_reference(str(saved), None, None)
    assert torch.equal(outputs(of_source), outputs(of_program))
    text = print_graph(of_source).replace(f"{weights.parent}/", "").replace("graph model", "graph net")
    assert print_graph(of_program) == text
    assert torch.equal(outputs(import_reference(str(saved), SHAPE, None)), outputs(of_program))


def test_names(factory: str, saved: Path) -> None:
    assert import_reference(factory, SHAPE, None).name == "model"
    assert import_reference(factory, SHAPE, None, "digits").name == "digits"
    assert import_reference(str(saved), None, None).name == "net"
    assert import_reference(str(saved), None, None, "digits").name == "digits"


def test_weights_that_were_not_trained_are_the_same_each_time(factory: str, weights: Path) -> None:
    first, second = (outputs(import_reference(factory, SHAPE, None)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, outputs(import_reference(factory, SHAPE, weights)))


def test_model_files() -> None:
    assert model_file("nets/model.py:build(width=8)") == Path("nets/model.py")
    assert model_file("nets/model.py") == Path("nets/model.py")
    assert model_file("net.pt2") == Path("net.pt2")


def test_a_factory_needs_a_shape(factory: str) -> None:
    assert refusal(factory, None) == (
        f"error[missing-input-shape]: {factory} needs the shape of its input\n  help: --input-size 1,3,32,32"
    )


def test_a_program_has_its_own_shape(saved: Path) -> None:
    assert refusal(str(saved), (1, 3, 8, 8)) == (
        f"error[input-mismatch]: The model takes the input shape [1, 1, 8, 8], not [1, 3, 8, 8]\n  --> {saved}"
    )


def test_a_program_has_its_own_weights(saved: Path, weights: Path) -> None:
    assert refusal(str(saved), None, weights) == (
        f"error[unexpected-weights]: {saved} holds its own weights\n  help: leave {weights} out"
    )


def test_a_program_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(b"program")
    assert refusal(str(tmp_path / "net.pt2"), None) == (
        f"error[bad-pt2]: {tmp_path / 'net.pt2'} is no .pt2 file: File is not a zip file\n"
        "  help: save the program again with torch.export.save of torch 2.13"
    )


def test_logging_is_as_before(factory: str) -> None:
    """Silenced while torch.export runs, whether it ends well or not."""
    import_reference(factory, SHAPE, None)
    refusal(factory, (1, 3, 8, 8))
    assert logging.root.manager.disable == logging.NOTSET
