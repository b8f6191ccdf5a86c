"""The safetensors format: a header that claims too much is refused, and the same tensors give the same bytes."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.builders.submissions import LABELS, clips, pixel_tensors
from vddbench.submissions import payload


def header_file(path: Path, header: object, data: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_same_tensors_give_the_same_bytes_as_the_safetensors_library(tmp_path: Path) -> None:
    tensors = {f"t{i}": torch.arange(6).reshape(2, 3).to(dtype) for i, dtype in enumerate(payload.CODES)}
    tensors |= {"transposed": torch.arange(6).reshape(2, 3).T, "scalar": torch.tensor(1.5)}
    ours = b"".join(payload.chunks(tensors))
    assert ours == safetensors.torch.save({name: t.contiguous() for name, t in tensors.items()})
    assert ours == b"".join(payload.chunks(dict(reversed(tensors.items()))))
    assert payload.sha256(tensors) == hashlib.sha256(ours).hexdigest()
    (tmp_path / "x.safetensors").write_bytes(ours)
    loaded = payload.load(tmp_path / "x.safetensors")
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"x": entry("F32", [10**12], 0, 4 * 10**12)}, b"", "truncated: its tensors need 4,000,000,000,000 bytes"),
        ({"x": entry("F32", [10**12], 0, 8)}, b"8 bytes.", r"claims shape \[1000000000000\] F32 = 4,000,000,000,000"),
        ({"x": entry("U8", [2**62, 4], 0, 2**64)}, b"", "data_offsets"),
        ({"x": entry("U8", [4], 0, 4), "y": entry("U8", [4], 2, 6)}, b"123456", "begins at byte 2, expected 4"),
        ({"x": entry("U8", [2], 2, 4)}, b"1234", "begins at byte 2, expected 0"),
        ({"x": entry("U8", [2], 0, 2)}, b"1234", "followed by bytes that no tensor counts"),
        ({"x": entry("U8", [-2], 0, -2)}, b"12", "whole numbers >= 0"),
        ({"x": entry("U8", [True], 0, 1)}, b"1", "whole numbers >= 0"),
        ({"x": entry("U8", [1] * 9, 0, 1)}, b"1", "up to 8 whole numbers"),
        ({"x": entry("F8_E4M3", [2], 0, 2)}, b"12", "dtype 'F8_E4M3'; allowed: U8"),
        ({"x": {"dtype": "U8"}}, b"", "must have exactly dtype, shape and data_offsets"),
        ({"x": 3}, b"", "must have exactly dtype, shape and data_offsets"),
        ({"x": entry("U8", [1], 0, 1) | {"strides": [0]}}, b"1", "must have exactly"),
        ({f"t{i}": entry("U8", [1], i, i + 1) for i in range(65)}, b"1" * 65, "found 65 tensors; allowed: 1 to 64"),
        ({}, b"", "found 0 tensors"),
        ({"__metadata__": {"a": "b"}}, b"", "found 0 tensors"),
        ([1], b"", "a JSON list; allowed: an object"),
        (b"[" * 1000, b"", "not valid JSON"),
        (b"{" + b'"a":{' * 100_000, b"", "not valid JSON"),
        (b'{"x":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,1]}}', b"1", "'dtype' appears twice"),
        (b"\xff\xff\xff", b"", "not valid JSON"),
    ],
)
def test_a_header_with_false_claims_is_refused_before_the_file_is_mapped(
    tmp_path: Path, header: object, data: bytes, message: str
) -> None:
    header_file(tmp_path / "x.safetensors", header, data)
    with pytest.raises(ValueError, match=message):
        payload.load(tmp_path / "x.safetensors")


def test_a_header_longer_than_its_bound_or_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for length in (2**63, 10**12, 2_000_000, 0):
        path.write_bytes(struct.pack("<Q", length) + b"{}" + b" " * 1_500_000)
        with pytest.raises(ValueError, match=f"header claims {length:,} bytes.*allowed: a header of 2 to 1,000,000 bytes"):
            payload.entries(path)


def test_every_truncation_of_a_payload_is_refused(tmp_path: Path) -> None:
    whole = b"".join(payload.chunks(pixel_tensors()))
    path = tmp_path / "x.safetensors"
    for length in [*range(0, 200, 7), *range(200, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="truncated"):
            payload.entries(path)


def test_flipped_bits_in_a_header_never_crash(tmp_path: Path) -> None:
    whole = b"".join(payload.chunks({"clips": clips(1), "labels": LABELS[:1]}))
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    rng, path = np.random.default_rng(0), tmp_path / "x.safetensors"
    refused = 0
    for _ in range(600):
        damaged = bytearray(whole)
        for at in rng.integers(0, start, size=int(rng.integers(1, 4))):
            damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            assert sum(t.numel() * t.element_size() for t in payload.load(path).values()) == len(whole) - start
        except ValueError:
            refused += 1
    assert refused > 400  # the rest renames a tensor or changes a shape or dtype of equal size
