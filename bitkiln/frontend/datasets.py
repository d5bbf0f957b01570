"""The `[data]` table of a project: real samples with labels, for calibration, fine-tuning and accuracy.

All formats end as the same four arrays, in the model's own input scale, so that nothing later has to know
where the samples came from. Nothing is downloaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from bitkiln.ir import Location, ToolError, fail, from_plain, known_names

from ._data_sources import MNIST_HINT, RawSet, idx_files, read_digits, read_idx_folder, read_npz


class DataFormat(Enum):
    """Where samples come from.

    `idx`: a folder with MNIST's four files, gzipped or not. An image file of shape (n, h, w) gives samples of
    shape (1, h, w); any other number of dimensions is taken as it is.

    `npz`: one numpy archive with the arrays train_x, train_y, test_x and test_y.

    `digits`: scikit-learn's digits, 1,797 images of shape (1, 8, 8). Of each class, the first image, the sixth
    and so on are for testing: 364 for testing, 1,433 for training, no random choice. Each writer's images are
    on both sides of this split, so it does not tell how well a network reads an unknown hand.
    """

    IDX = "idx"
    NPZ = "npz"
    DIGITS = "digits"


@dataclass(frozen=True)
class DataSpec:
    """Which samples to use and how to scale them: value = (raw * scale - mean) / std.

    `path` is a folder (idx) or a file (npz). `scale` defaults to 1/255 for idx, 1/16 for digits (whose raw
    values are 0 to 16) and 1 for npz. `mean` and `std` hold one number, or one a channel (the samples' first
    axis). `shape` reshapes each sample, e.g. (784,) for a network that takes flat images. The limits keep the
    first samples of a set. A wrong value is a ToolError `bad-data-spec`.
    """

    format: DataFormat
    path: str = ""
    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    calibration_samples: int = 512
    train_limit: int | None = None
    test_limit: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.format, DataFormat):
            raise fail(
                "unknown-format",
                f"format must be a DataFormat, not {self.format!r}",
                hint=known_names(str(self.format), [data_format.value for data_format in DataFormat]),
            )
        for field, expected, value, is_right in (
            ("calibration_samples", "at least 1", self.calibration_samples, self.calibration_samples >= 1),
            (
                "train_limit",
                "at least 1",
                self.train_limit,
                self.train_limit is None or self.train_limit >= 1,
            ),
            ("test_limit", "at least 1", self.test_limit, self.test_limit is None or self.test_limit >= 1),
            ("scale", "finite and not 0", self.scale, self.scale is None or _is_divisor(self.scale)),
            ("mean", "finite numbers", self.mean, all(map(math.isfinite, self.mean))),
            (
                "std",
                "finite numbers above 0",
                self.std,
                all(_is_divisor(std) and std > 0 for std in self.std),
            ),
            ("shape", "sizes of at least 1", self.shape, all(size >= 1 for size in self.shape)),
        ):
            if not is_right:
                raise fail("bad-data-spec", f"{field} must be {expected}, not {value}")
        if self.format is DataFormat.DIGITS and self.path:
            hint = "the images are part of scikit-learn"
            raise fail("bad-data-spec", 'format = "digits" takes no path', hint=hint)

    def relative_to(self, folder: Path) -> DataSpec:
        """Return the same spec with `path` taken from `folder`, unless it is empty or absolute."""
        return replace(self, path=str(folder / self.path)) if self.path else self


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples as the model takes them, without its batch dimension.

    `train_x` and `test_x` are float32 of shape (n, *sample_shape), finite; `train_y` and `test_y` int64 of
    shape (n,), at least 0. Both sets hold at least one sample. `name` says in messages where they came from.
    """

    train_x: npt.NDArray[np.float32]
    train_y: npt.NDArray[np.int64]
    test_x: npt.NDArray[np.float32]
    test_y: npt.NDArray[np.int64]
    name: str = ""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.train_x.shape[1:]


def load_dataset(spec: DataSpec) -> Dataset:
    """Read, check and scale the samples that `spec` names; every wrong input is a ToolError with its file.

    >>> load_dataset(DataSpec(DataFormat.DIGITS)).train_x.shape
    (1433, 1, 8, 8)
    """
    match spec.format:
        case DataFormat.IDX:
            raw, default_scale = read_idx_folder(_required_path(spec)), 1 / 255
        case DataFormat.NPZ:
            raw, default_scale = read_npz(_required_path(spec)), 1.0
        case DataFormat.DIGITS:
            raw, default_scale = read_digits(), 1 / 16
        case _:
            assert_never(spec.format)
    scale = default_scale if spec.scale is None else spec.scale
    train_x, train_y = _prepare(raw.train, spec, scale, spec.train_limit)
    test_x, test_y = _prepare(raw.test, spec, scale, spec.test_limit)
    if train_x.shape[1:] != test_x.shape[1:]:
        raise fail(
            "data-mismatch",
            f"Test samples must have the training samples' shape {train_x.shape[1:]}, not {test_x.shape[1:]}",
            Location(raw.test.inputs_name),
        )
    return Dataset(train_x, train_y, test_x, test_y, name=spec.path or spec.format.value)


def read_dataset(text: str) -> Dataset:
    """Read the samples that a command line names: `digits`, `idx:FOLDER` or `npz:FILE`."""
    data_format, _, path = text.partition(":")
    spec = from_plain(DataSpec, {"format": data_format, "path": path}, "--data")
    try:
        return load_dataset(spec)
    except ToolError as error:
        raise error.prefixed(f"--data {text}") from None


def data_files(spec: DataSpec) -> tuple[Path, ...]:
    """Return the files that `load_dataset` reads, as far as they are there."""
    path = Path(spec.path)
    match spec.format:
        case DataFormat.IDX:
            return idx_files(path)
        case DataFormat.NPZ:
            return (path,) if path.is_file() else ()
        case DataFormat.DIGITS:
            return ()
    assert_never(spec.format)


def calibration_inputs(dataset: Dataset, samples: int) -> npt.NDArray[np.float32]:
    """Return `samples` training inputs, spread evenly over the set; all of them if there are fewer.

    Spread, because many sets are sorted by class: their first samples would show one class only.
    """
    available = len(dataset.train_x)
    count = min(samples, available)
    return dataset.train_x[np.arange(count) * available // count]


def check_shape(dataset: Dataset, input_shape: tuple[int, ...]) -> None:
    """Raise a ToolError unless the samples have the model's input shape (without its batch dimension)."""
    shape = dataset.sample_shape
    if shape == input_shape:
        return
    hint = "use the samples that the model was trained on"
    if math.prod(shape) == math.prod(input_shape):
        hint = f"the number of values agrees: shape = {list(input_shape)} in [data] reshapes the samples"
    raise fail(
        "data-mismatch",
        f"Samples must have the model's input shape {input_shape}, not {shape}",
        Location(dataset.name),
        hint,
    )


def _required_path(spec: DataSpec) -> Path:
    is_idx = spec.format is DataFormat.IDX
    if not spec.path:
        kind = "the folder with the four idx files" if is_idx else "the .npz file"
        raise fail("bad-data-spec", f'[data] format = "{spec.format.value}" needs path: {kind}')
    path = Path(spec.path)
    if not path.exists():
        raise fail("missing-file", "[data] path does not exist", Location(spec.path), MNIST_HINT if is_idx else "")
    return path


def _is_divisor(number: float) -> bool:
    return math.isfinite(number) and number != 0


def _prepare(
    raw: RawSet, spec: DataSpec, scale: float, limit: int | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Check one set and bring it into the model's shape and scale."""
    _check_inputs(raw)
    _check_labels(raw)
    inputs = raw.inputs[:limit]
    if spec.shape:
        inputs = _reshape(inputs, spec.shape, raw.inputs_name)
    samples = _scaled(inputs, spec, scale, raw.inputs_name)
    is_finite = np.isfinite(samples).reshape(len(samples), -1).all(axis=1)
    if not is_finite.all():
        raise fail(
            "bad-data",
            f"Samples must be finite, but {int((~is_finite).sum())} of {len(samples)} hold NaN or infinity "
            f"(the first is sample {int(is_finite.argmin())})",
            Location(raw.inputs_name),
        )
    return samples, raw.labels[:limit].astype(np.int64)


def _check_inputs(raw: RawSet) -> None:
    location = Location(raw.inputs_name)
    if raw.inputs.dtype.kind not in "buif":
        raise fail("bad-data", f"Samples must be real numbers, not {raw.inputs.dtype}", location)
    if raw.inputs.ndim < 2:
        raise fail("bad-data", f"Samples must have the shape (n, ...), not {raw.inputs.shape}", location)
    if raw.inputs.size == 0:
        raise fail("bad-data", f"A set must hold samples, but its shape is {raw.inputs.shape}", location)


def _check_labels(raw: RawSet) -> None:
    location = Location(raw.labels_name)
    if raw.labels.ndim != 1:
        hint = "turn one-hot rows into class numbers with argmax(axis=1)" if raw.labels.ndim == 2 else ""
        raise fail("bad-data", f"Labels must have the shape (n,), not {raw.labels.shape}", location, hint)
    if raw.labels.dtype.kind not in "ui" or not np.can_cast(raw.labels.dtype, np.int64):
        raise fail("bad-data", f"Labels must be integers that fit int64, not {raw.labels.dtype}", location)
    if len(raw.labels) != len(raw.inputs):
        raise fail(
            "data-mismatch",
            f"There must be a label for each sample, but {raw.inputs_name} holds {len(raw.inputs)} samples "
            f"and {raw.labels_name} holds {len(raw.labels)} labels",
            location,
        )
    index = int(raw.labels.argmin())
    lowest = int(raw.labels[index])
    if lowest < 0:
        raise fail("bad-data", f"Labels must be at least 0, not {lowest} (sample {index})", location)


def _reshape(inputs: npt.NDArray[Any], shape: tuple[int, ...], name: str) -> npt.NDArray[Any]:
    if math.prod(shape) != math.prod(inputs.shape[1:]):
        raise fail(
            "data-mismatch",
            f"[data] shape must hold as many values as a sample of shape {inputs.shape[1:]}, not {shape}",
            Location(name),
        )
    return inputs.reshape(len(inputs), *shape)


def _scaled(inputs: npt.NDArray[Any], spec: DataSpec, scale: float, name: str) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what overflows float32 is reported as infinite by the caller
        samples = inputs.astype(np.float32)
        samples *= np.float32(scale)
    if spec.mean:
        samples -= _per_channel("mean", spec.mean, samples, name)
    if spec.std:
        samples /= _per_channel("std", spec.std, samples, name)
    return samples


def _per_channel(
    field: str, numbers: tuple[float, ...], samples: npt.NDArray[np.float32], name: str
) -> npt.NDArray[np.float32]:
    """Return `numbers` shaped to broadcast over the samples' channel axis."""
    channels = samples.shape[1]
    if len(numbers) not in (1, channels):
        raise fail(
            "data-mismatch",
            f"[data] {field} must hold 1 number or one for each of {channels} channels, not {len(numbers)}",
            Location(name),
        )
    return np.array(numbers, np.float32).reshape(-1, *[1] * (samples.ndim - 2))
