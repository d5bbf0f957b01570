"""Datasets: each format ends as the same four arrays; every wrong input is one clear Diagnostic."""

from __future__ import annotations

import gzip
import sys
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from bitkiln.frontend.datasets import (
    DataFormat,
    Dataset,
    DataSpec,
    calibration_inputs,
    check_shape,
    data_files,
    load_dataset,
)
from bitkiln.ir import Diagnostic, ToolError, from_plain
from tests.frontend.idx_files import MNIST_NAMES, idx_bytes, write_mnist

Arrays = dict[str, npt.NDArray[Any]]


def arrays(**changes: npt.NDArray[Any]) -> Arrays:
    random = np.random.default_rng(0)
    good: Arrays = {
        "train_x": random.standard_normal((6, 2, 3, 3)),
        "train_y": np.array([0, 1, 2, 0, 1, 2]),
        "test_x": random.standard_normal((3, 2, 3, 3)),
        "test_y": np.array([2, 1, 0]),
    }
    return {**good, **changes}


def write_npz(folder: Path, content: Arrays) -> DataSpec:
    path = folder / "data.npz"
    np.savez(path, allow_pickle=True, **content)
    return DataSpec(DataFormat.NPZ, str(path))


def refused(spec: DataSpec) -> Diagnostic:
    with pytest.raises(ToolError) as caught:
        load_dataset(spec)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_folder(tmp_path: Path, zipped: bool) -> None:
    train_x, train_y, test_x, test_y = write_mnist(tmp_path, zipped=zipped)
    data = load_dataset(DataSpec(DataFormat.IDX, str(tmp_path)))
    assert data.sample_shape == (1, 4, 3)
    assert [array.dtype.name for array in (data.train_x, data.train_y)] == ["float32", "int64"]
    np.testing.assert_allclose(data.train_x[:, 0], train_x / 255, rtol=1e-6)
    np.testing.assert_allclose(data.test_x[:, 0], test_x / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.train_y, train_y)
    np.testing.assert_array_equal(data.test_y, test_y)


def test_npz(tmp_path: Path) -> None:
    content = arrays()
    data = load_dataset(write_npz(tmp_path, content))
    np.testing.assert_array_equal(data.train_x, content["train_x"].astype(np.float32))
    np.testing.assert_array_equal(data.test_y, content["test_y"])


def test_digits() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    data = load_dataset(DataSpec(DataFormat.DIGITS))
    assert (data.train_x.shape, data.test_x.shape) == ((1433, 1, 8, 8), (364, 1, 8, 8))
    assert (data.train_x.min(), data.train_x.max()) == (0.0, 1.0)
    assert np.bincount(data.test_y).tolist() == [36, 37, 36, 37, 37, 37, 37, 36, 35, 36]
    # Every image is on one side: the pixels of both sides together are those of the whole set.
    assert data.train_x.sum() + data.test_x.sum() == 561718 / 16


def test_mnist(shared_data: Path) -> None:
    data = load_dataset(DataSpec(DataFormat.IDX, str(shared_data / "mnist")))
    assert (data.train_x.shape, data.test_x.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert data.test_y[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    # The mean by which everyone normalises MNIST.
    assert data.train_x.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)


def test_values_are_scaled_then_normalised_per_channel(tmp_path: Path) -> None:
    content = arrays()
    spec = write_npz(tmp_path, content)
    normalised = DataSpec(spec.format, spec.path, scale=0.5, mean=(1.0, -1.0), std=(2.0, 4.0))
    mean, std = np.array([1.0, -1.0]).reshape(2, 1, 1), np.array([2.0, 4.0]).reshape(2, 1, 1)
    expected = (content["train_x"] * 0.5 - mean) / std
    np.testing.assert_allclose(load_dataset(normalised).train_x, expected, rtol=1e-5, atol=1e-6)


def test_one_mean_serves_all_channels(tmp_path: Path) -> None:
    content = arrays()
    spec = write_npz(tmp_path, content)
    data = load_dataset(DataSpec(spec.format, spec.path, mean=(3.0,)))
    np.testing.assert_allclose(data.test_x, content["test_x"] - 3.0, rtol=1e-5, atol=1e-6)


def test_shape_and_limits(tmp_path: Path) -> None:
    train_x, train_y, *_ = write_mnist(tmp_path)
    data = load_dataset(DataSpec(DataFormat.IDX, str(tmp_path), shape=(12,), train_limit=5, test_limit=1000))
    assert (data.train_x.shape, data.test_x.shape) == ((5, 12), (5, 12))
    np.testing.assert_allclose(data.train_x, train_x[:5].reshape(5, 12) / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.train_y, train_y[:5])


def test_calibration_is_spread_over_the_training_set() -> None:
    inputs, labels = np.arange(10, dtype=np.float32).reshape(10, 1), np.zeros(10, np.int64)
    data = Dataset(inputs, labels, inputs, labels)
    assert calibration_inputs(data, 4).ravel().tolist() == [0, 2, 5, 7]
    assert calibration_inputs(data, 10).ravel().tolist() == list(range(10))
    assert calibration_inputs(data, 512).ravel().tolist() == list(range(10))


def test_spec_is_read_from_a_table() -> None:
    table = {"format": "idx", "path": "mnist", "mean": [0.13], "std": [0.31], "shape": [784], "test_limit": 20}
    spec = from_plain(DataSpec, table, "project.toml [data]")
    assert spec == DataSpec(DataFormat.IDX, "mnist", mean=(0.13,), std=(0.31,), shape=(784,), test_limit=20)
    assert spec.relative_to(Path("/project")).path == "/project/mnist"
    assert DataSpec(DataFormat.IDX, "/data").relative_to(Path("/project")).path == "/data"
    assert DataSpec(DataFormat.DIGITS).relative_to(Path("/project")).path == ""


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"calibration_samples": 0}, "calibration_samples must be at least 1, not 0"),
        ({"train_limit": 0}, "train_limit must be at least 1, not 0"),
        ({"test_limit": -5}, "test_limit must be at least 1, not -5"),
        ({"scale": 0.0}, "scale must be finite and not 0, not 0.0"),
        ({"scale": float("inf")}, "scale must be finite and not 0, not inf"),
        ({"mean": [float("nan")]}, "mean must be finite numbers, not (nan,)"),
        ({"std": [0.3, 0.0]}, "std must be finite numbers above 0, not (0.3, 0.0)"),
        ({"shape": [28, 0]}, "shape must be sizes of at least 1, not (28, 0)"),
        ({"path": "digits.npz"}, 'format = "digits" takes no path'),
    ],
)
def test_wrong_spec(table: dict[str, object], message: str) -> None:
    with pytest.raises(ToolError) as caught:
        from_plain(DataSpec, {"format": "digits", **table}, "project.toml [data]")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.slug, diagnostic.message) == ("bad-data-spec", f"project.toml [data]: {message}")


def test_unknown_format() -> None:
    with pytest.raises(ToolError) as caught:
        DataSpec(cast(DataFormat, "digit"))
    assert str(caught.value) == (
        "error[unknown-format]: format must be a DataFormat, not 'digit'\n"
        "  help: did you mean digits? Known: digits, idx, npz"
    )


@pytest.mark.parametrize(
    ("data_format", "message"),
    [
        (DataFormat.IDX, '[data] format = "idx" needs path: the folder with the four idx files'),
        (DataFormat.NPZ, '[data] format = "npz" needs path: the .npz file'),
    ],
)
def test_no_path(data_format: DataFormat, message: str) -> None:
    assert refused(DataSpec(data_format)).message == message


def test_missing_folder_says_where_mnist_is(tmp_path: Path) -> None:
    found = refused(DataSpec(DataFormat.IDX, str(tmp_path / "mnist")))
    assert (found.slug, found.message) == ("missing-file", "[data] path does not exist")
    assert found.location.file == str(tmp_path / "mnist")
    assert found.hint == (
        "MNIST is at https://ossci-datasets.s3.amazonaws.com/mnist/ and "
        "https://storage.googleapis.com/cvdf-datasets/mnist/; torchvision puts it into <root>/MNIST/raw"
    )


def test_missing_files_are_named(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    for name in MNIST_NAMES[1:3]:
        (tmp_path / name).unlink()
    found = refused(DataSpec(DataFormat.IDX, str(tmp_path)))
    assert found.slug == "missing-file"
    assert found.message == ("The folder lacks train-labels-idx1-ubyte, t10k-images-idx3-ubyte (each may end in .gz)")
    assert "https://ossci-datasets.s3.amazonaws.com/mnist/" in found.hint


def test_file_instead_of_folder_and_folder_instead_of_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert refused(DataSpec(DataFormat.IDX, str(file))).message == (
        'With format = "idx", [data] path must be the folder of the four files, not a file'
    )
    assert refused(DataSpec(DataFormat.NPZ, str(tmp_path))).message == (
        'With format = "npz", [data] path must be the .npz file, not a folder'
    )


def test_swapped_images_and_labels(tmp_path: Path) -> None:
    images, labels, *_ = write_mnist(tmp_path)
    (tmp_path / MNIST_NAMES[0]).write_bytes(idx_bytes(labels))
    (tmp_path / MNIST_NAMES[1]).write_bytes(idx_bytes(images))
    found = refused(DataSpec(DataFormat.IDX, str(tmp_path)))
    assert (found.slug, found.message) == ("bad-data", "Samples must have the shape (n, ...), not (12,)")
    assert found.location.file == str(tmp_path / MNIST_NAMES[0])


def test_truncated_gzip_names_the_file(tmp_path: Path) -> None:
    write_mnist(tmp_path, zipped=True)
    path = tmp_path / f"{MNIST_NAMES[2]}.gz"
    path.write_bytes(path.read_bytes()[:-20])
    found = refused(DataSpec(DataFormat.IDX, str(tmp_path)))
    assert (found.slug, found.location.file) == ("bad-data-file", str(path))
    assert found.message.startswith("The gzip file is damaged or cut short: ")


def test_fewer_labels_than_images(tmp_path: Path) -> None:
    _, labels, *_ = write_mnist(tmp_path)
    (tmp_path / MNIST_NAMES[1]).write_bytes(gzip.compress(idx_bytes(labels[:11])))
    found = refused(DataSpec(DataFormat.IDX, str(tmp_path)))
    assert found.slug == "data-mismatch"
    assert found.message == (
        f"There must be a label for each sample, but {tmp_path / MNIST_NAMES[0]} holds 12 samples "
        f"and {tmp_path / MNIST_NAMES[1]} holds 11 labels"
    )


def test_empty_idx(tmp_path: Path) -> None:
    write_mnist(tmp_path, test=0)
    found = refused(DataSpec(DataFormat.IDX, str(tmp_path)))
    assert (found.slug, found.message) == ("bad-data", "A set must hold samples, but its shape is (0, 1, 4, 3)")


NAN = arrays()["test_x"].copy()
NAN[1, 0, 2, 2] = np.nan
HUGE = arrays()["train_x"].copy()
HUGE[[2, 4]] = 1e39


@pytest.mark.parametrize(
    ("changes", "slug", "key", "message"),
    [
        (
            {"test_x": NAN},
            "bad-data",
            "test_x",
            "Samples must be finite, but 1 of 3 hold NaN or infinity (the first is sample 1)",
        ),
        (
            {"train_x": HUGE},
            "bad-data",
            "train_x",
            "Samples must be finite, but 2 of 6 hold NaN or infinity (the first is sample 2)",
        ),
        (
            {"train_x": np.zeros((0, 2, 3, 3))},
            "bad-data",
            "train_x",
            "A set must hold samples, but its shape is (0, 2, 3, 3)",
        ),
        ({"train_x": np.zeros(6)}, "bad-data", "train_x", "Samples must have the shape (n, ...), not (6,)"),
        (
            {"train_x": np.zeros((6, 2, 3, 3), complex)},
            "bad-data",
            "train_x",
            "Samples must be real numbers, not complex128",
        ),
        ({"test_x": np.array([["a"] * 4] * 3)}, "bad-data", "test_x", "Samples must be real numbers, not <U1"),
        (
            {"test_x": np.zeros((3, 2, 3, 4))},
            "data-mismatch",
            "test_x",
            "Test samples must have the training samples' shape (2, 3, 3), not (2, 3, 4)",
        ),
        ({"test_y": np.array([0, -1, 1])}, "bad-data", "test_y", "Labels must be at least 0, not -1 (sample 1)"),
        (
            {"test_y": np.array([0.0, 1.0, 2.0])},
            "bad-data",
            "test_y",
            "Labels must be integers that fit int64, not float64",
        ),
        (
            {"test_y": np.array([0, 1, 2], np.uint64)},
            "bad-data",
            "test_y",
            "Labels must be integers that fit int64, not uint64",
        ),
        ({"test_y": np.eye(3, dtype=int)}, "bad-data", "test_y", "Labels must have the shape (n,), not (3, 3)"),
    ],
)
def test_wrong_arrays(tmp_path: Path, changes: Arrays, slug: str, key: str, message: str) -> None:
    spec = write_npz(tmp_path, arrays(**changes))
    found = refused(spec)
    assert (found.slug, found.message, found.location.file) == (slug, message, f"{spec.path}[{key}]")


def test_one_hot_labels_have_a_hint(tmp_path: Path) -> None:
    found = refused(write_npz(tmp_path, arrays(train_y=np.eye(6, dtype=int))))
    assert found.hint == "turn one-hot rows into class numbers with argmax(axis=1)"


def test_npz_lacks_keys(tmp_path: Path) -> None:
    content = arrays()
    del content["test_x"], content["test_y"]
    found = refused(write_npz(tmp_path, {**content, "x_test": content["train_x"]}))
    assert found.message == "The archive must hold train_x, train_y, test_x, test_y, but lacks test_x, test_y"
    assert found.hint == "it holds train_x, train_y, x_test"


def test_npz_is_never_unpickled(tmp_path: Path) -> None:
    spec = write_npz(tmp_path, arrays(test_y=np.array([{}, {}, {}], object)))
    found = refused(spec)
    assert (found.slug, found.location.file) == ("bad-data-file", f"{spec.path}[test_y]")
    assert found.message == "The array cannot be read: Object arrays cannot be loaded when allow_pickle=False"


def test_npz_member_that_is_no_array(tmp_path: Path) -> None:
    spec = write_npz(tmp_path, {key: value for key, value in arrays().items() if key != "test_y"})
    with zipfile.ZipFile(spec.path, "a") as archive:
        archive.writestr("test_y", b"0 1 2")
    assert refused(spec).message == "The member is not a numpy array"


@pytest.mark.parametrize("content", [b"", b"train_x = 3", b"\x93NUMPY\x01\x00"])
def test_file_that_is_no_npz(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    found = refused(DataSpec(DataFormat.NPZ, str(path)))
    assert (found.slug, found.message) == ("bad-data-file", "The file is not a .npz archive")


def test_damaged_archives_crash_nothing(tmp_path: Path) -> None:
    spec = write_npz(tmp_path, arrays())
    good = Path(spec.path).read_bytes()
    for position in range(0, len(good), 7):
        damaged = bytearray(good)
        damaged[position] ^= 0xFF
        Path(spec.path).write_bytes(damaged)
        try:
            load_dataset(spec)
        except ToolError as error:
            assert len(error.diagnostics) == 1  # noqa: PT017  # damage in an unused byte is no error


def test_damaged_npz_member(tmp_path: Path) -> None:
    spec = write_npz(tmp_path, arrays())
    content = bytearray(Path(spec.path).read_bytes())
    content[300] ^= 0xFF
    Path(spec.path).write_bytes(content)
    found = refused(spec)
    assert found.slug == "bad-data-file"
    assert found.message == "The array cannot be read: Bad CRC-32 for file 'train_x.npy'"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"mean": [1, 2, 3]}, "[data] mean must hold 1 number or one for each of 2 channels, not 3"),
        ({"std": [1, 2, 3]}, "[data] std must hold 1 number or one for each of 2 channels, not 3"),
        ({"shape": [19]}, "[data] shape must hold as many values as a sample of shape (2, 3, 3), not (19,)"),
    ],
)
def test_spec_that_does_not_fit_the_samples(tmp_path: Path, table: dict[str, object], message: str) -> None:
    path = write_npz(tmp_path, arrays()).path
    found = refused(from_plain(DataSpec, {"format": "npz", "path": path, **table}, "project.toml [data]"))
    assert (found.slug, found.message) == ("data-mismatch", message)


def test_the_files_of_a_set_are_those_that_are_read(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / f"{MNIST_NAMES[1]}.gz").touch()
    (tmp_path / MNIST_NAMES[2]).rename(tmp_path / f"{MNIST_NAMES[2]}.gz")
    (tmp_path / "build").mkdir()
    found = data_files(DataSpec(DataFormat.IDX, str(tmp_path)))
    assert [path.name for path in found] == [*MNIST_NAMES[:2], f"{MNIST_NAMES[2]}.gz", MNIST_NAMES[3]]
    archive = tmp_path / "data.npz"
    assert data_files(DataSpec(DataFormat.NPZ, str(archive))) == ()
    archive.touch()
    assert data_files(DataSpec(DataFormat.NPZ, str(archive))) == (archive,)
    assert data_files(DataSpec(DataFormat.DIGITS)) == ()


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    found = refused(DataSpec(DataFormat.DIGITS))
    assert (found.slug, found.hint) == ("missing-tool", "pip install scikit-learn")
    assert found.message.startswith('[data] format = "digits" needs the Python package scikit-learn: ')


def test_check_shape(tmp_path: Path) -> None:
    data = load_dataset(write_npz(tmp_path, arrays()))
    check_shape(data, (2, 3, 3))
    with pytest.raises(ToolError) as caught:
        check_shape(data, (18,))
    assert str(caught.value) == (
        "error[data-mismatch]: Samples must have the model's input shape (18,), not (2, 3, 3)\n"
        f"  --> {tmp_path / 'data.npz'}\n"
        "  help: the number of values agrees: shape = [18] in [data] reshapes the samples"
    )
    with pytest.raises(ToolError, match="help: use the samples that the model was trained on"):
        check_shape(data, (1, 28, 28))
