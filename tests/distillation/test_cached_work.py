"""Work that is made once and read by many runs is the same tensor for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vddbench.distillation.cached_work import read_work, work_bytes


@pytest.mark.parametrize("seconds", [1.5, 2.1234, 2.123456789])
def test_a_part_lies_at_the_same_alignment_whatever_the_length_of_the_header(tmp_path: Path, seconds: float) -> None:
    """Else a matrix product of the same numbers may round differently, and the same seed give other bytes."""
    values = torch.arange(4 * 1001.0).view(4, 1001)
    (tmp_path / "file.safetensors").write_bytes(work_bytes(values, seconds, 16))
    tensor = read_work(tmp_path / "file.safetensors", "work").tensor
    assert torch.equal(tensor[:], values) and torch.equal(tensor[1], values[1])
    assert tensor[:].data_ptr() % 64 == tensor[1].data_ptr() % 64 == 0
