"""Model references: the user's file runs once, leaves no trace, and every mistake in it is one Diagnostic."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bitkiln.frontend.model_reference import ModelReference, load_model, parse_reference, source_root
from bitkiln.ir import Diagnostic, ToolError

HEADER = "from torch import nn\n\n"


def write(folder: Path, source: str, name: str = "model.py") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(source)
    return str(folder / name)


def refused(reference: str) -> Diagnostic:
    with pytest.raises(ToolError) as caught:
        load_model(reference)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def linear(module: nn.Module) -> nn.Linear:
    assert isinstance(module, nn.Linear)
    return module


def test_module_comes_in_eval_mode(tmp_path: Path) -> None:
    file = write(tmp_path, HEADER + "def build():\n    return nn.Sequential(nn.Linear(2, 3), nn.Dropout())\n")
    module = load_model(f"{file}:build")
    assert isinstance(module, nn.Sequential)
    assert not any(part.training for part in module.modules())


def test_build_is_the_default(tmp_path: Path) -> None:
    file = write(tmp_path, HEADER + "def build():\n    return nn.Linear(2, 3)\n")
    assert linear(load_model(file)).out_features == 3


def test_class_is_a_factory(tmp_path: Path) -> None:
    file = write(tmp_path, HEADER + "class Net(nn.Linear):\n    def __init__(self):\n        super().__init__(4, 5)\n")
    assert linear(load_model(f"{file}:Net")).in_features == 4


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("build", ModelReference(Path("a/model.py"), "build")),
        ("build()", ModelReference(Path("a/model.py"), "build")),
        ("net(8)", ModelReference(Path("a/model.py"), "net", (8,))),
        (
            "build(width=8, sizes=[3, -1.5], name='a:b', bias=None)",
            ModelReference(
                Path("a/model.py"),
                "build",
                (),
                (("width", 8), ("sizes", [3, -1.5]), ("name", "a:b"), ("bias", None)),
            ),
        ),
    ],
)
def test_parse(call: str, expected: ModelReference) -> None:
    assert parse_reference(f"a/model.py:{call}") == expected


@pytest.mark.parametrize(
    "call",
    [
        "",
        "build(",
        "nn.Linear",
        "build()()",
        "build(width=int('8'))",
        "build(__import__('os').getcwd())",
        "build(width=other)",
        "build(*[1])",
        "build(**{'width': 8})",
        "build(width=8, width=9)",
        "build; import os",
        "lambda: 0",
        "build(" + "(" * 500,
    ],
)
def test_only_literals_are_arguments(call: str) -> None:
    with pytest.raises(ToolError) as caught:
        parse_reference(f"a/model.py:{call}")
    assert str(caught.value) == (
        "error[bad-model-reference]: After the file comes a function, with literal arguments if any, "
        f"not {call!r}\n"
        "  --> a/model.py\n"
        "  help: for example path/model.py:build or path/model.py:build(width=8)"
    )


@pytest.mark.parametrize("reference", ["", "model", "weights.pt:build", ".py"])
def test_reference_without_python_file(reference: str) -> None:
    found = refused(reference)
    assert (found.slug, found.message) == (
        "bad-model-reference",
        f"A model is named as path/model.py:build or path/model.py:build(width=8), not {reference!r}",
    )


def test_arguments_reach_the_factory(tmp_path: Path) -> None:
    file = write(tmp_path, HEADER + "def build(width, depth=2):\n    return nn.Linear(width, depth)\n")
    module = linear(load_model(f"{file}:build(7, depth=3)"))
    assert (module.in_features, module.out_features) == (7, 3)


def test_arguments_that_do_not_fit(tmp_path: Path) -> None:
    file = write(tmp_path, HEADER + "def build(width=4):\n    return nn.Linear(width, 1)\n")
    found = refused(f"{file}:build(depth=3)")
    assert (found.slug, found.message) == (
        "bad-model-reference",
        "The arguments do not fit build(width=4): got an unexpected keyword argument 'depth'",
    )
    assert (found.location.file, found.location.line) == (file, 3)


def test_untrained_weights_are_the_same_each_time(tmp_path: Path) -> None:
    file = write(tmp_path, HEADER + "def build():\n    return nn.Linear(3, 3)\n")
    state = torch.get_rng_state()
    first = linear(load_model(file))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert torch.equal(first.weight, linear(load_model(file)).weight)


def test_missing_file(tmp_path: Path) -> None:
    found = refused(f"{tmp_path}/net.py:build")
    assert (found.slug, found.message, found.location.file) == (
        "missing-file",
        "The model file does not exist",
        f"{tmp_path}/net.py",
    )


def test_missing_function_lists_the_known_ones(tmp_path: Path) -> None:
    file = write(tmp_path, "def build_small():\n    pass\n\ndef build_large():\n    pass\n\ndef _helper():\n    pass\n")
    found = refused(f"{file}:build")
    assert (found.slug, found.message) == ("bad-model-reference", "The model file defines no build")
    assert found.hint == "did you mean build_small or build_large? Known: build_large, build_small"
    assert refused(f"{write(tmp_path, 'x = 1')}:build").hint == "it defines no functions"


@pytest.mark.parametrize(
    ("value", "kind"),
    [("nn.Linear(1, 1)", "torch.nn.modules.linear.Linear"), ("3", "int"), ("None", "None")],
)
def test_name_that_is_no_function(tmp_path: Path, value: str, kind: str) -> None:
    found = refused(write(tmp_path, f"{HEADER}build = {value}\n"))
    assert found.message == f"build must be a function that returns a torch.nn.Module, not {kind}"


@pytest.mark.parametrize(("value", "kind"), [("None", "None"), ("{}", "dict"), ("nn.Linear", "type"), ("nn", "module")])
def test_factory_that_returns_no_module(tmp_path: Path, value: str, kind: str) -> None:
    file = write(tmp_path, f"{HEADER}def build():\n    return {value}\n")
    found = refused(file)
    assert (found.slug, found.message) == ("bad-model", f"build() must return a torch.nn.Module, not {kind}")
    assert (found.location.file, found.location.line) == (file, 3)


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        (
            "def build():\n    width = 7\n    raise ValueError('width must be even,\\n not 7')\n",
            3,
            "build() raises ValueError: width must be even, not 7",
        ),
        ("def build():\n    return inner()\n\ndef inner():\n    assert False\n", 5, "build() raises AssertionError"),
        ("x = 1\ny = x / 0\n", 2, "importing model.py raises ZeroDivisionError: division by zero"),
        ("x = 1\nif x\n", 2, "importing model.py raises SyntaxError: expected ':' (model.py, line 2)"),
        (
            "from torch import nn\ndef build():\n    return nn.Linear('a', 2)\n",
            3,
            "build() raises TypeError: empty(): argument 'size'",
        ),
        ("import sys\nsys.exit(3)\n", 2, "importing model.py raises SystemExit: 3"),
        ("class Odd(BaseException): pass\ndef build():\n    raise Odd\n", 3, "build() raises Odd"),
    ],
)
def test_model_that_raises(tmp_path: Path, source: str, line: int, message: str) -> None:
    file = write(tmp_path, source)
    found = refused(file)
    assert (found.slug, found.location.file, found.location.line) == ("model-raised", file, line)
    assert found.message.startswith(message)
    assert "Traceback" not in str(found)


def test_missing_module_has_a_hint(tmp_path: Path) -> None:
    found = refused(write(tmp_path, "import no_such_module\n"))
    assert found.message == "importing model.py raises ModuleNotFoundError: No module named 'no_such_module'"
    assert found.hint == "install no_such_module, or put no_such_module.py beside the model file"
    assert not [name for name in sys.modules if name == "no_such_module"]


def test_line_is_found_after_the_model_changed_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "nets", "import os\nos.chdir('/')\nraise ValueError\n")
    found = refused("nets/model.py")
    assert str(found.location) == "nets/model.py:3"


def test_error_in_a_sibling_points_at_the_model_files_line(tmp_path: Path) -> None:
    write(tmp_path, "def make():\n    raise ValueError('no')\n", "layers.py")
    file = write(tmp_path, "import layers\n\ndef build():\n    return layers.make()\n")
    assert (refused(file).location.file, refused(file).location.line) == (file, 4)


def test_two_models_each_have_their_own_siblings(tmp_path: Path) -> None:
    model = "import layers\n\ndef build():\n    from parts import last\n    return last.make(layers.WIDTH)\n"
    part = HEADER + "def make(width):\n    return nn.Linear(width, {})\n"
    path, modules = list(sys.path), set(sys.modules)
    for folder, width in (("a", 3), ("b", 5)):
        write(tmp_path / folder, f"WIDTH = {width}\n", "layers.py")
        write(tmp_path / folder / "parts", part.format(width + 1), "last.py")
        module = linear(load_model(write(tmp_path / folder, model)))
        assert (module.in_features, module.out_features) == (width, width + 1)
    assert sys.path == path
    assert {name for name in set(sys.modules) - modules if not name.startswith("_bitkiln_model_")} == set()


@pytest.mark.parametrize("line", ["from ..layers import width", "from package.layers import width"])
def test_model_inside_a_package_imports_from_it(tmp_path: Path, line: str) -> None:
    inner = tmp_path / "package" / "nets"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").touch()
    file = inner / "model.py"
    file.write_text(HEADER + f"{line}\ndef build():\n    return nn.Linear(2, width)\n")
    for width in (3, 4):
        (inner.parent / "layers.py").write_text(f"width = {width}\n")
        assert linear(load_model(str(file))).out_features == width
    assert source_root(file) == tmp_path
    assert str(tmp_path) not in sys.path
    assert not any(name.partition(".")[0] == "package" for name in sys.modules if "_bitkiln_model_" not in name)


def test_sys_path_is_restored_when_the_model_raises_or_changes_it(tmp_path: Path) -> None:
    path, modules = list(sys.path), set(sys.modules)
    write(tmp_path, "", "layers.py")
    refused(write(tmp_path, "import sys, layers\nsys.path.insert(0, '/nowhere')\nraise ValueError\n"))
    assert sys.path == path
    assert set(sys.modules) == modules


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    source = HEADER + "def build():\n    return nn.Linear(2, {})\n"
    for width in (3, 4):  # the same second and the same size: a bytecode cache would not notice
        assert linear(load_model(write(tmp_path, source.format(width)))).out_features == width
    assert not (tmp_path / "__pycache__").exists()


def test_classes_of_the_model_file_can_be_looked_up(tmp_path: Path) -> None:
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from torch import nn\n\n@dataclass\nclass Size:\n    unit: ClassVar[str] = 'px'\n    width: int = 6\n\n"
        "class Net(nn.Linear):\n    pass\n\ndef build():\n    return Net(Size().width, 1)\n"
    )
    module = load_model(write(tmp_path, source))
    assert vars(sys.modules[type(module).__module__])["Net"] is type(module)


def test_interrupt_passes(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_model(write(tmp_path, "def build():\n    raise KeyboardInterrupt\n"))


@pytest.mark.parametrize(
    ("reference", "parameters"),
    [
        ("digits/model.py:build", 4258),
        ("mnist/lenet_300_100.py:build", 266610),
        ("mnist/lenet5.py:build", 431080),
    ],
)
def test_examples(reference: str, parameters: int) -> None:
    module = load_model(str(Path(__file__).parents[2] / "examples" / reference))
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters
    size = 8 if "digits" in reference else 28
    assert module(torch.zeros(2, 1, size, size)).shape == (2, 10)


def test_what_the_model_prints_is_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is for results, which may be JSON."""
    load_model(write(tmp_path, "print('loading')\nimport torch\ndef build():\n    return torch.nn.ReLU()\n"))
    assert capsys.readouterr() == ("", "loading\n")
