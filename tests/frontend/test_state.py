"""Weight files: what was saved comes back, nothing but tensors is read, every disagreement is named."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bitkiln.frontend.state import check_weights, load_state, save_state
from bitkiln.ir import Diagnostic, Location, ToolError

State = dict[str, Tensor]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def trained() -> nn.Sequential:
    module = net()
    module(torch.rand(4, 1, 4, 4))  # moves the running statistics
    return module


def write(path: Path, state: Mapping[str, Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file(dict(state), path)
    else:
        torch.save(dict(state), path)
    return path


def findings(module: nn.Module, path: Path) -> tuple[Diagnostic, ...]:
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(ToolError) as caught:
        load_state(module, path)
    assert_equal(module.state_dict(), before)
    return caught.value.diagnostics


def assert_equal(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.fixture(params=["weights.safetensors", "weights.pt", "weights.pth"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def test_round_trip(path: Path) -> None:
    source, target = trained(), net()
    load_state(target, write(path, source.state_dict()))
    assert_equal(target.state_dict(), source.state_dict())


def test_save_state(tmp_path: Path) -> None:
    source, target = trained(), net()
    save_state(source, tmp_path / "a.safetensors")
    save_state(source, tmp_path / "b.safetensors")
    load_state(target, tmp_path / "a.safetensors")
    assert_equal(target.state_dict(), source.state_dict())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        module[1].weight = module[0].weight
        return module

    source, target = tied(), tied()
    save_state(source, tmp_path / "a.safetensors")
    load_state(target, tmp_path / "a.safetensors")
    assert_equal(target.state_dict(), source.state_dict())
    assert target[0].weight is target[1].weight


def test_num_batches_tracked_may_be_missing(path: Path) -> None:
    source, target = trained(), net()
    state = {name: tensor for name, tensor in source.state_dict().items() if "tracked" not in name}
    load_state(target, write(path, state))
    assert_equal(floats(target), floats(source))


def test_other_float_types_are_converted(path: Path) -> None:
    source, target = trained(), net()
    load_state(target, write(path, {name: tensor.to(torch.float64) for name, tensor in floats(source).items()}))
    assert_equal(floats(target), floats(source))
    load_state(target, write(path, {name: tensor.to(torch.bfloat16) for name, tensor in floats(source).items()}))
    torch.testing.assert_close(floats(target), floats(source), rtol=2**-8, atol=0)


def floats(module: nn.Module) -> State:
    return {name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()}


def test_every_disagreement_is_named_at_once(path: Path) -> None:
    state = trained().state_dict()
    del state["0.bias"], state["1.running_var"]
    state["3.weight"] = torch.zeros(3, 9)
    state["3.bias"] = torch.zeros(3, dtype=torch.int64)
    state["4.weight"] = torch.zeros(1)
    state["0.weight"][1, 0, 0, :2] = torch.tensor([float("nan"), float("inf")])
    location = Location(str(write(path, state)))
    hint = "do the model file and the weight file belong together?"
    assert findings(net(), path) == (
        Diagnostic("missing-weights", "The weight file lacks 0.bias, 1.running_var", location, hint),
        Diagnostic("unexpected-weights", "The model has no 4.weight", location, hint),
        Diagnostic(
            "mismatched-weights",
            "Weights do not fit the model: 3.bias (must be float32 [3], not int64 [3]), "
            "3.weight (must be float32 [3, 8], not float32 [3, 9])",
            location,
        ),
        Diagnostic(
            "not-finite",
            "Weights must be finite, but NaN or infinity is in 0.weight (2 of 18 values)",
            location,
            "train again with a lower learning rate, or load another checkpoint",
        ),
    )


def test_value_beyond_the_models_type(path: Path) -> None:
    state = {"weight": torch.full((1, 2), 1e39, dtype=torch.float64), "bias": torch.zeros(1)}
    (found,) = findings(nn.Linear(2, 1), write(path, state))
    assert found.message == "Weights must be finite, but NaN or infinity is in weight (2 of 2 values)"


def test_long_lists_are_cut(path: Path) -> None:
    state = {f"{i:02}": torch.zeros(1) for i in range(20)}
    found = findings(nn.ReLU(), write(path, state))
    assert found[0].message == "The model has no 00, 01, 02, 03, 04, 05, 06, 07 and 12 more"


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_wrapped_model_has_a_hint(path: Path, prefix: str) -> None:
    state = {f"{prefix}{name}": tensor for name, tensor in nn.Linear(2, 1).state_dict().items()}
    found = findings(nn.Linear(2, 1), write(path, state))
    hint = f"every name in the file begins with {prefix!r}: save the state dict of the wrapped model"
    assert [(finding.slug, finding.hint) for finding in found] == [
        ("missing-weights", hint),
        ("unexpected-weights", hint),
    ]


def test_missing_file(path: Path) -> None:
    (found,) = findings(net(), path)
    assert (found.slug, found.message, found.location.file) == (
        "missing-file",
        "The weight file does not exist",
        str(path),
    )


@pytest.mark.parametrize(("name", "suffix"), [("weights.pkl", ".pkl"), ("weights.npz", ".npz"), ("weights", "nothing")])
def test_unknown_format(tmp_path: Path, name: str, suffix: str) -> None:
    (found,) = findings(net(), tmp_path / name)
    assert (found.slug, found.message) == (
        "unknown-format",
        f"A weight file must end in .safetensors, .pt, .pth, not {suffix}",
    )


class Payload:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_pickles_are_never_run(tmp_path: Path) -> None:
    trap, path = tmp_path / "trap", tmp_path / "weights.pt"
    torch.save({"weight": Payload(trap)}, path)
    (found,) = findings(nn.Linear(2, 1), path)
    assert found.message == (
        "The weight file holds more than tensors, or is damaged; only tensors are read, as all else may run code"
    )
    assert found.hint == "save the tensors alone: torch.save(model.state_dict(), path)"
    path.write_bytes(pickle.dumps(Payload(trap)))
    (found,) = findings(nn.Linear(2, 1), path)
    assert found.message == "The weight file is no archive of torch.save (PyTorch 1.6 or newer)"
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (nn.Linear(2, 1), "The weight file holds more than tensors, or is damaged; only tensors are read, "),
        (torch.zeros(3), "A weight file must hold a state dict, not Tensor"),
        ([torch.zeros(3)], "A weight file must hold a state dict, not list"),
        (
            {"epoch": 3, "state_dict": nn.Linear(2, 1).state_dict(), "loss": 0.1},
            "Entries of a state dict must be tensors, which these are not: epoch, loss, state_dict",
        ),
    ],
)
def test_file_without_a_state_dict(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "weights.pt")
    (found,) = findings(nn.Linear(2, 1), tmp_path / "weights.pt")
    assert found.slug == "bad-weight-file"
    assert found.message.startswith(message)


@pytest.mark.parametrize("keep", [0, 7, 100, -20])
def test_truncated_file(path: Path, keep: int) -> None:
    write(path, trained().state_dict())
    path.write_bytes(path.read_bytes()[:keep])
    (found,) = findings(net(), path)
    assert (found.slug, found.location.file) == ("bad-weight-file", str(path))


def test_damaged_archives_crash_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "weights.pt", nn.Linear(2, 1).state_dict())
    good = path.read_bytes()
    for position in range(0, len(good), 7):
        damaged = bytearray(good)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            load_state(nn.Linear(2, 1), path)
        except ToolError as error:
            assert {finding.location.file for finding in error.diagnostics} == {str(path)}  # noqa: PT017  # may load


def test_check_weights() -> None:
    module = trained()
    check_weights(module, Location("model.py"))
    module.state_dict()["1.running_var"][0] = float("inf")
    with pytest.raises(ToolError) as caught:
        check_weights(module, Location("model.py"))
    assert str(caught.value) == (
        "error[not-finite]: Weights must be finite, but NaN or infinity is in 1.running_var (1 of 2 values)\n"
        "  --> model.py\n"
        "  help: train again with a lower learning rate, or load another checkpoint"
    )


def test_lazy_layers() -> None:
    with pytest.raises(ToolError) as caught:
        check_weights(nn.Sequential(nn.LazyLinear(3)), Location("model.py"))
    assert caught.value.diagnostics[0].message == (
        "The model has lazy tensors, which have no shape yet: 0.bias, 0.weight"
    )
