"""One file per decoder: `decode(tensors, spec) -> ClipSet`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from vddbench.spec import ClipSet, DatasetSpec

if TYPE_CHECKING:
    import torch


class DecoderModule(Protocol):
    """A file in vddbench/submissions/decoders/. Raises ValueError naming the tensor that is unknown, missing or misshapen."""

    def decode(self, tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet: ...
