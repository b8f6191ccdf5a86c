"""Decoders, one file each: `decode(tensors, spec) -> ClipSet` turns the tensors of a payload into clips.

A file's docstring states its tensors (N clips, T frames of H x W pixels, K classes), its arithmetic and its errors. The
arithmetic of a released decoder never changes, since scores depend on it; a better one is a new file.

A file may also have `bytes_per_clip(tensors, spec) -> int`: the memory of a decoded clip, from which rules.py decides before
anything is decoded whether a set is too large; without it, clips of float32 are assumed. If a row of `labels` is for several
clips, `clips_per_label(tensors) -> int` gives their number. Both receive tensors that are not checked yet.
`MAX_EXPANSION` is for a decoder whose clips may take more memory than 64 times the budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from vddbench.spec import ClipSet, DatasetSpec

if TYPE_CHECKING:
    import torch


class DecoderModule(Protocol):
    """A file in vddbench/submissions/decoders/, or in decoders/ of a plug-in folder."""

    def decode(self, tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
        """Clips [N, T, H, W, 3], uint8 or float32 on the 0-255 scale, with labels [N] int64 or [N, K] float32.

        The tensors come from a stranger: call `tensors.expect` first. A tensor `labels` has one row for each
        decoded clip, or for `clips_per_label` of them, which bounds the number of clips. Raises ValueError with one line for
        each tensor that is unknown, missing or wrong.
        """
        ...
