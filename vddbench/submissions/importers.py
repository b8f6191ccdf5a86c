"""Reads the tensors of research code from .pt, .pth, .npy, .npz and .safetensors files; code in a file is never run."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.serialization import MAGIC_NUMBER

from vddbench.submissions import payload
from vddbench.submissions.choosing import LABEL_NAMES, names_of_clips
from vddbench.system.progress import clean

SUFFIXES = (".pt", ".pth", ".npy", ".npz", ".safetensors")
FORMAT = "format"  # the name under which Lite-VD says what a file holds
CLASS_NAMES = {"class_names", "classes", "classnames", "class_to_idx", "idx_to_class"}
PAIRS = "pairs (clip, class)"  # stands in the names of tensors that are joined from such pairs
MAX_DEPTH = 6  # levels of nested dicts and lists: {"data": [[images, labels]]} is 3 (released code of DC, 2006.05929)
BROKEN = (  # what torch and numpy raise on damaged files and on files of another format
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    MemoryError,
    OSError,
    OverflowError,
    NotImplementedError,
)


NEEDED = re.compile(r"GLOBAL (\S+)")  # in torch's message about a pickle that is more than tensors


class Source(NamedTuple):
    """What a file holds: tensors and lists of names, by their dotted names (`data.0.1`; "" for the only value)."""

    tensors: dict[str, torch.Tensor]
    texts: dict[str, list[str]]


def read_source(path: Path) -> Source:
    """Every tensor of a file, and every list of texts (names of classes). Lists of numbers and of equal tensors are tensors.

    Raises FileNotFoundError, and ValueError if the file holds Python objects, or neither tensors nor texts.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give a {', '.join(SUFFIXES)} file, or a folder of clips")
    if path.suffix == ".zip":
        raise ValueError(f"{path} is an archive: unpack it; folders of clips are read")
    if path.suffix in {".pkl", ".pickle"}:
        raise ValueError(f"{path} could not be read as plain tensors: {_reason(path, ValueError())}")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: files of type {path.suffix or '(none)'!r} are not read; allowed: {', '.join(SUFFIXES)}")
    if path.suffix == ".safetensors":
        return Source(payload.load(path), {})
    try:
        source = Source({}, {})
        _collect(_torch(path) if path.suffix in {".pt", ".pth"} else _numpy(path), source)
    except PermissionError:
        raise
    except BROKEN as error:
        raise ValueError(f"{path} could not be read as plain tensors: {_reason(path, error)}") from error
    _separated(source.tensors)
    if not (source.tensors or source.texts):
        raise ValueError(
            f"{path} holds no tensor in {MAX_DEPTH} levels of dicts and lists; save e.g. "
            "torch.save({'clips': clips, 'labels': labels}, 'syn.pt')"
        )
    return source


def _reason(path: Path, error: Exception) -> str:
    """Why a file cannot be read, and what to do: it has Python objects, or is damaged or of another format."""
    needed = NEEDED.search(str(error))
    has_objects = re.search("Object arrays|Python objects", str(error))  # NumPy's words
    if needed or has_objects or _begins(path, b"\x80"):  # the first byte of a pickle
        what = f"it needs the Python object {clean(needed[1][:100])}" if needed else "it is a pickle of Python objects"
        return (
            f"{what}. Python objects are never loaded. In your own code, if you trust the file, two lines turn it into plain "
            f"tensors: syn = {_loading(path)}; torch.save({{'clips': ..., 'labels': ...}}, 'plain.pt'), with tensors or arrays "
            "of `syn` in place of ... If the file has an order of classes of its own, save that, too, as a list 'class_names'"
        )
    if path.stat().st_size == 0:
        return "it is empty"
    writer = "torch.save" if path.suffix in {".pt", ".pth"} else "numpy.save" if path.suffix == ".npy" else "numpy.savez"
    return f"it is damaged or cut short, or {writer} did not write it; copy it again, or save it again"


def _loading(path: Path) -> str:
    """The call that loads a file with Python objects, as text for messages: never made here.

    Spaces around `=` tell it from a call, which tests/test_contracts.py forbids.
    """
    name = repr(str(path.absolute()))
    if _begins(path, b"\x93NUMPY"):
        return f"np.load({name}, allow_pickle = True).tolist()"  # the dict or the list that the array of objects was made of
    if path.suffix == ".npz" and zipfile.is_zipfile(path):
        return f"np.load({name}, allow_pickle = True)"
    with path.open("rb") as file:
        of_torch = MAGIC_NUMBER.to_bytes(10, "little") in file.read(32)  # torch before 1.6: a pickle that begins with a number
    if of_torch or zipfile.is_zipfile(path):
        return f"torch.load({name}, map_location='cpu', weights_only = False)"
    return f"pickle.load(open({name}, 'rb'))"


def _begins(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def _is_stored(archive: zipfile.ZipFile) -> bool:
    return all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())


def _torch(path: Path) -> object:
    stored = False
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            stored = _is_stored(archive)
            if stored and (damaged := archive.testzip()):  # torch does not compare the checksums
                raise zipfile.BadZipFile(damaged)
    with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_values()):
        warnings.simplefilter("ignore")  # about unusual pickle protocols: what cannot be read is refused below
        value: object = torch.load(path, map_location="cpu", weights_only=True, mmap=stored)
    return value


def _numpy_values() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What a pickle of NumPy numbers and arrays calls, besides torch's own: accuracies often are NumPy scalars."""
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    assert callable(scalar) and callable(array)
    dtypes = {type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"}
    both = [(f, f"numpy.{core}.multiarray.{f.__name__}") for core in ("core", "_core") for f in (scalar, array)]
    return [np.dtype, np.ndarray, *dtypes, *both]


def _numpy(path: Path) -> object:
    if path.suffix == ".npy":
        return np.lib.format.open_memmap(path, mode="c")  # "c": writable in memory, never on disk
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def _from_numpy(array: np.ndarray) -> torch.Tensor | None:
    """The array as a tensor. Returns None if torch has no such values: dates, bytes, records, long doubles."""
    try:
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except TypeError:
        return None


def _collect(value: object, source: Source, name: str = "", depth: int = 0) -> None:
    """Adds the tensors of nested dicts and lists, and the lists of texts; other values are left out."""
    if isinstance(value, np.ndarray):
        value = np.char.decode(value, "utf-8", "replace") if value.dtype.kind == "S" else value
        value = value.tolist() if value.dtype.kind == "U" else _from_numpy(value)
    elif isinstance(value, Mapping) and name.rpartition(".")[2] in CLASS_NAMES:
        value = _in_order(value) or value
    if isinstance(value, torch.Tensor):
        if value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized:
            source.tensors[name] = value.detach()
    elif isinstance(value, str) and name.rpartition(".")[2] == FORMAT:
        source.texts[name] = [value]
    elif isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        source.texts[name] = list(value)
    elif isinstance(value, list | tuple) and (joined := _joined(value)) is not None:
        source.tensors[name] = joined
    elif isinstance(value, list | tuple) and (pairs := _pairs(value)) is not None:
        for part, items in pairs.items():
            _collect(items, source, f"{name}.{PAIRS}.{part}" if name else f"{PAIRS}.{part}", depth + 1)
    elif depth < MAX_DEPTH and isinstance(value, Mapping | list | tuple):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            _collect(item, source, f"{name}.{key}" if name else str(key), depth + 1)


def _in_order(names: Mapping[object, object]) -> list[str] | None:
    """The names of {name: number} or {number: name} in the order of the numbers 0, 1, ...; None for other mappings."""
    numbers = {str(number): name for pair in names.items() for number, name in (pair, pair[::-1]) if isinstance(name, str)}
    ordered = [numbers[str(number)] for number in range(len(names)) if str(number) in numbers]
    return ordered if len(ordered) == len(names) else None


def _joined(values: list[object] | tuple[object, ...]) -> torch.Tensor | None:
    """One tensor of a list of numbers, of equally long lists of numbers, or of tensors or arrays of one shape: a clip each.

    Returns None for other lists. Tensors of 5 dimensions or more are whole sets, which are not joined.
    """
    numbers = (bool, int, float, np.number, np.bool_)
    if values and all(isinstance(value, numbers) for value in values):
        return torch.tensor(values)
    rows = [value for value in values if isinstance(value, list | tuple) and value]
    if rows and len(rows) == len(values) == len([r for r in rows if len(r) == len(rows[0])]):
        return torch.tensor(rows) if all(isinstance(number, numbers) for row in rows for number in row) else None
    arrays = [_from_numpy(value) if isinstance(value, np.ndarray) and value.dtype.kind != "U" else value for value in values]
    tensors = [value for value in arrays if isinstance(value, torch.Tensor) and value.ndim <= 4]
    if len(tensors) == len(values) > 1 and len({(tensor.shape, tensor.dtype) for tensor in tensors}) == 1:
        return torch.stack(tensors).detach()
    return None


def _pairs(values: list[object] | tuple[object, ...]) -> dict[str, list[Any]] | None:
    """The clips and the labels of a list of (clip, class), as a dataset of PyTorch holds them. Returns None for other lists."""
    pairs = [value for value in values if isinstance(value, list | tuple) and len(value) == 2]
    if len(pairs) < len(values) or not pairs:
        return None
    if not all(isinstance(clip, torch.Tensor | np.ndarray) and 3 <= clip.ndim <= 4 for clip, _ in pairs):
        return None
    labels = [label.item() if isinstance(label, torch.Tensor | np.generic) and label.ndim == 0 else label for _, label in pairs]
    if {type(label) for label in labels} not in ({int}, {str}):
        return None
    return {"clips": [clip for clip, _ in pairs], "labels": labels}


def _separated(tensors: dict[str, torch.Tensor]) -> None:
    """Replaces joined labels of several sets by those of each: {"image_syn": [A, B], "label_syn": [a, b]}."""
    lengths: dict[str, list[int]] = {}
    for name in names_of_clips(tensors):
        parent, _, index = name.rpartition(".")
        if parent and index == str(len(lengths.setdefault(parent, []))):
            lengths[parent].append(len(tensors[name]))
    for name, labels in list(tensors.items()):
        is_labels = name.split(".")[-1] in LABEL_NAMES and 2 <= labels.ndim <= 3 and len(labels) > 1
        if is_labels and [labels.shape[1]] * len(labels) in lengths.values():
            del tensors[name]
            tensors.update({f"{name}.{index}": row for index, row in enumerate(labels)})
