"""Reads the tensors of research code from .pt, .pth, .npy, .npz and .safetensors files; code in a file is never run."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from vddbench.submissions import payload

SUFFIXES = (".pt", ".pth", ".npy", ".npz", ".safetensors")
CLIP_NAMES = {"clips", "clip", "images", "image", "image_syn", "images_syn", "syn_images", "videos", "video", "data", "syn"}
LABEL_NAMES = {"labels", "label", "label_syn", "labels_syn", "syn_labels", "targets", "target", "y", "y_syn"}
MAX_DEPTH = 4  # levels of nested dicts and lists: {"data": [[images, labels]]} is 3 (released code of DC, 2006.05929)
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
    OverflowError,
    NotImplementedError,
)


def read_tensors(path: Path, limit_bytes: int) -> dict[str, torch.Tensor]:
    """Every tensor of a file by name: `data.0.1` for a nested one, "" for the only value of the file.

    Raises FileNotFoundError, and ValueError if the file holds more than `limit_bytes`, Python objects or no tensor.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give a {', '.join(SUFFIXES)} file")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: files of type {path.suffix or '(none)'!r} are not read; allowed: {', '.join(SUFFIXES)}")
    _check_size(path, limit_bytes)
    if path.suffix == ".safetensors":
        return payload.load(path)
    try:
        tensors = dict(_flat(_torch(path) if path.suffix in {".pt", ".pth"} else _numpy(path)))
    except BROKEN as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise ValueError(
            f"{path} could not be read as plain tensors ({reason}). Python objects in it are never loaded; save only "
            "tensors, e.g. torch.save({'clips': clips, 'labels': labels}, 'syn.pt'), or .npy/.npz/.safetensors"
        ) from error
    if not tensors:
        raise ValueError(f"{path} holds no tensor; save e.g. torch.save({{'clips': clips, 'labels': labels}}, 'syn.pt')")
    for name, tensor in tensors.items():  # a stored stride of 0 makes a tensor of any size from one value
        _check_limit(f"{path}: tensor {name!r}", tensor.numel() * tensor.element_size(), limit_bytes)
    return tensors


def _check_size(path: Path, limit_bytes: int) -> None:
    """Raises ValueError if a file would unpack to more than the limit, before it is unpacked."""
    total = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            total = max(total, sum(info.file_size for info in archive.infolist()))
    _check_limit(str(path), total, limit_bytes)


def _check_limit(source: str, size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise ValueError(
            f"{source} holds {size:,} bytes; allowed for this task: {limit_bytes:,}; save only the final clips and labels"
        )


def _torch(path: Path) -> object:
    stored = False
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            stored = all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about unusual pickle protocols: what cannot be read is refused below
        value: object = torch.load(path, map_location="cpu", weights_only=True, mmap=stored)
    return value


def _numpy(path: Path) -> object:
    if path.suffix == ".npy":
        return _from_numpy(np.lib.format.open_memmap(path, mode="c"))  # "c": writable in memory, never on disk
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: _from_numpy(archive[name]) for name in archive.files}


def _from_numpy(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _flat(value: object, name: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of nested dicts and lists with their dotted names; other values are left out."""
    if isinstance(value, torch.Tensor):
        if value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized:
            yield name, value.detach()
    elif depth < MAX_DEPTH and isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from _flat(item, f"{name}.{key}" if name else str(key), depth + 1)


def choose_clips(tensors: Mapping[str, torch.Tensor], key: str | None) -> str:
    """The name of the clips: the key if given, else the only tensor of 4 to 6 dimensions, else the only one named like clips.

    Raises ValueError if that is not clear.
    """
    if key is not None:
        return _named(tensors, key, "--clips-key")
    large = [name for name, tensor in tensors.items() if 4 <= tensor.ndim <= 6]
    named = [name for name in large if name.split(".")[-1] in CLIP_NAMES]
    for candidates in (large, named):
        if len(candidates) == 1:
            return candidates[0]
    raise ValueError(f"which tensor holds the clips? Name it with --clips-key; found: {listing(tensors)}")


def choose_labels(tensors: Mapping[str, torch.Tensor], key: str | None) -> str | None:
    """The name of the labels: the key if given, else the one named like labels, else the only unnamed one, else None.

    Raises ValueError if several are named like labels.
    """
    if key is not None:
        return _named(tensors, key, "--labels-key")
    small = [name for name, tensor in tensors.items() if 1 <= tensor.ndim <= 2]
    named = [name for name in small if name.split(".")[-1] in LABEL_NAMES]
    if len(named) > 1:
        raise ValueError(f"which tensor holds the labels? Name it with --labels-key; found: {listing(tensors)}")
    unnamed = [name for name in small if name.split(".")[-1].isdecimal() or not name]
    return named[0] if named else unnamed[0] if len(unnamed) == 1 else None


def _named(tensors: Mapping[str, torch.Tensor], key: str, flag: str) -> str:
    if key not in tensors:
        raise ValueError(f"{flag} {key[:80]!r} is not in the file; found: {listing(tensors)}")
    return key


def listing(tensors: Mapping[str, torch.Tensor]) -> str:
    """The names and shapes of at most 20 tensors, for messages."""
    shown = [f"{name[:60]!r} {list(tensor.shape)}" for name, tensor in list(tensors.items())[:20]]
    return ", ".join(shown) + (f" and {len(tensors) - 20} more" if len(tensors) > 20 else "")
