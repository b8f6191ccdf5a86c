"""The file format of `data.safetensors`: reading checks all sizes, and the same tensors are always written as the same bytes.

This file reads and checks a stranger's header before the safetensors library maps the file, so that the header cannot claim
more than the file holds and every refusal says what to do. Nothing in the file is executed.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vddbench.system.files import parse_json

MAX_HEADER_BYTES = 1_000_000  # 64 tensors need about 6 kB
MAX_TENSORS = 64
MAX_DIMS = 8
DTYPES = {  # in the order of alignment of the safetensors library
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
LOOKS_LIKE = (  # first bytes of other formats that people rename to .safetensors
    (b"PK\x03\x04", "a zip archive (a PyTorch .pt/.pth or NumPy .npz file); convert it with `vddbench pack`"),
    (b"\x93NUMPY", "a NumPy .npy file; convert it with `vddbench pack`"),
    (
        b"\x80",
        "a Python pickle (an old PyTorch .pt/.pth file); it is never opened here, convert it with `vddbench pack`",
    ),
    (b"version https://git-lfs", "a git LFS pointer: the payload was not downloaded; run `git lfs pull`"),
    (b"<", "an HTML or XML page, as a failed download leaves it; download the payload again"),
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One tensor as the header of a file states it."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int  # first byte, counted from the end of the header

    @property
    def num_values(self) -> int:
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        return self.num_values * self.dtype.itemsize


def entries(path: Path) -> list[Entry]:
    """The tensors of a file in the order of their bytes; only the header is read.

    Raises ValueError unless the tensors fill the rest of the file exactly, OSError if it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise ValueError(_other_format(path, start + file.read(64), length, size))
        text = file.read(length)
    try:
        header = parse_json(text, MAX_HEADER_BYTES)
    except ValueError as error:
        raise ValueError(f"{path}: the header is not valid JSON ({_short(error)}); write the file again") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path}: the header is a JSON {type(header).__name__}; allowed: an object of tensors")
    header.pop("__metadata__", None)  # never read: no decoder may depend on bytes that aren't counted
    if not 1 <= len(header) <= MAX_TENSORS:
        raise ValueError(f"{path}: found {len(header):,} tensors; allowed: 1 to {MAX_TENSORS}")
    tensors = sorted((_entry(path, name, value) for name, value in header.items()), key=lambda e: (e.begin, e.num_bytes))
    _check_tiling(path, tensors, size - 8 - length)
    return tensors


def described(tensors: Mapping[str, torch.Tensor]) -> list[Entry]:
    """The entries of tensors in memory. Their `begin` is not known yet and is 0."""
    return [Entry(name=n, dtype=t.dtype, shape=tuple(t.shape), begin=0) for n, t in tensors.items()]


def num_bytes(tensors: Mapping[str, torch.Tensor]) -> int:
    """The size of a payload: all bytes of all tensors, without the header."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def dtype_name(dtype: torch.dtype) -> str:
    """`uint8` for torch.uint8."""
    return str(dtype).removeprefix("torch.")


def _other_format(path: Path, start: bytes, length: int, size: int) -> str:
    for magic, description in LOOKS_LIKE:
        if start.startswith(magic) and (magic != b"\x80" or start[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}):
            return f"{path} is not a safetensors file: it looks like {description}"
    return (
        f"{path} is not a safetensors file, or a truncated one: its header claims {length:,} bytes, the file has "
        f"{size:,}; allowed: a header of 2 to {MAX_HEADER_BYTES:,} bytes inside the file; write or download it again"
    )


def _entry(path: Path, name: str, value: object) -> Entry:
    where = f"{path}: tensor {name[:80]!r}"
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{where} must have exactly dtype, shape and data_offsets in the header; write the file again")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{where} has dtype {ascii(dtype)[:40]}; allowed: {', '.join(DTYPES)}")
    if not _naturals(shape) or len(shape) > MAX_DIMS:
        raise ValueError(f"{where} has shape {ascii(shape)[:80]}; allowed: up to {MAX_DIMS} whole numbers >= 0")
    if not _naturals(offsets) or len(offsets) != 2:
        raise ValueError(f"{where} has data_offsets {ascii(offsets)[:80]}; allowed: [begin, end]")
    entry = Entry(name=name, dtype=DTYPES[dtype], shape=tuple(shape), begin=offsets[0])
    if offsets[1] - offsets[0] != entry.num_bytes:
        raise ValueError(
            f"{where} claims shape {list(shape)} {dtype} = {entry.num_bytes:,} bytes, but its data_offsets "
            f"hold {offsets[1] - offsets[0]:,}; write the file again"
        )
    return entry


def _naturals(value: object) -> bool:
    """Whether the value is a list of integers from 0 to 2^63 - 1; True and False do not count as integers."""
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 2**63 for v in value)


def _check_tiling(path: Path, tensors: list[Entry], data_bytes: int) -> None:
    """Raises ValueError unless tensors follow each other without overlap or gap and end with the file.

    This ensures that every byte of the file is counted once.
    """
    at = 0
    for entry in tensors:
        if entry.begin != at:
            raise ValueError(
                f"{path}: tensor {entry.name[:80]!r} begins at byte {entry.begin:,}, expected {at:,}: "
                f"tensors must not overlap or leave gaps; write the file again"
            )
        at += entry.num_bytes
    if at != data_bytes:
        kind = "truncated" if at > data_bytes else "followed by bytes that no tensor counts"
        raise ValueError(
            f"{path} is {kind}: its tensors need {at:,} bytes, the file has {data_bytes:,} after the header; "
            "write or download it again"
        )


def load(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file, memory-mapped: pages are read when they are used. Raises as `entries` does."""
    entries(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a valid safetensors file ({_short(error)}); write the file again") from error


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def chunks(tensors: Mapping[str, torch.Tensor]) -> Iterator[memoryview]:
    """The bytes of a safetensors file without metadata: tensors of wide dtypes first, then by name.

    The bytes are those of `safetensors.torch.save` (0.8), but streamed, without a second copy of the tensors in memory.
    """
    codes = list(DTYPES)
    order = sorted(tensors, key=lambda name: (-codes.index(CODES[tensors[name].dtype]), name))
    header: dict[str, object] = {}
    at = 0
    for name in order:
        end = at + tensors[name].numel() * tensors[name].element_size()
        header[name] = {
            "dtype": CODES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield memoryview(struct.pack("<Q", len(text)) + text)
    for name in order:
        flat = tensors[name].detach().cpu().contiguous().reshape(-1)
        if flat.numel():
            yield flat.view(torch.uint8).numpy().data


def sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """The SHA-256 of the file that `write` writes."""
    digest = hashlib.sha256()
    for chunk in chunks(tensors):
        digest.update(chunk)
    return digest.hexdigest()


def write(file: BinaryIO, tensors: Mapping[str, torch.Tensor]) -> None:
    """Writes the file in chunks."""
    for chunk in chunks(tensors):
        file.write(chunk)
