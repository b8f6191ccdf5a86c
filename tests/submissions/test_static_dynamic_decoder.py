"""Stills and motions are decoded to clips as in arXiv 2312.00362, and cost the bytes that it counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.builders.submissions import SPEC, written
from vddbench.data.datasets import miniucf
from vddbench.distillation.static_dynamic import hallucinator_start
from vddbench.submissions import submission
from vddbench.submissions.decoders import static_dynamic
from vddbench.submissions.quantise import stored_motions
from vddbench.submissions.tensors import MAX_VALUE

Tensors = dict[str, torch.Tensor]
IDENTITY = hallucinator_start("identity", np.random.default_rng(0))


def payload(num_slots: int = 3, stills: int = 2, motions: int = 2) -> Tensors:
    """Valid tensors of noise; the hallucinator passes stills through and adds a tenth of the motion."""
    draw = torch.Generator().manual_seed(0)
    return {
        "statics": torch.randint(0, 256, (num_slots, stills, 16, 16, 3), dtype=torch.uint8, generator=draw),
        "dynamics": torch.randn((num_slots, motions, 4, 16, 16, 1), generator=draw),
        "hallucinator_weight": IDENTITY[0].clone(),
        "hallucinator_bias": IDENTITY[1].clone(),
        "labels": torch.arange(3).repeat_interleave(num_slots * stills * motions // 3),
    }


def test_every_pair_of_a_slot_is_decoded_slot_by_slot_still_by_still() -> None:
    tensors = payload(stills=2, motions=3)
    decoded = static_dynamic.decode(tensors, SPEC)
    assert decoded.clips.shape == (18, *SPEC.clip_shape) and decoded.clips.dtype == torch.float32
    assert decoded.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    std = torch.tensor(SPEC.std) * 255
    for n, (slot, p, q) in enumerate(np.ndindex(3, 2, 3)):
        expected = tensors["statics"][slot, p].float() + 0.1 * tensors["dynamics"][slot, q] * std
        torch.testing.assert_close(decoded.clips[n], expected, atol=1e-3, rtol=0)


def test_the_hallucinator_is_a_zero_padded_3d_convolution_of_the_still_and_the_motion() -> None:
    tensors = payload(1, 1, 1)
    tensors["labels"] = torch.tensor([1])
    tensors["hallucinator_weight"] = torch.randn((3, 4, 3, 3, 3), generator=torch.Generator().manual_seed(2))
    tensors["hallucinator_bias"] = torch.tensor([0.1, 0.2, 0.3])
    decoded = static_dynamic.decode(tensors, SPEC).clips[0]
    mean, std = np.array(SPEC.mean) * 255, np.array(SPEC.std) * 255
    still = (tensors["statics"][0, 0].numpy() - mean) / std
    padded = np.zeros((6, 18, 18, 4))
    padded[1:-1, 1:-1, 1:-1, :3], padded[1:-1, 1:-1, 1:-1, 3:] = still, tensors["dynamics"][0, 0].numpy()
    weight = tensors["hallucinator_weight"].numpy()
    for t, y, x in ((0, 0, 0), (1, 7, 9), (3, 15, 15)):
        window = padded[t : t + 3, y : y + 3, x : x + 3]
        expected = np.einsum("tyxc,octyx->o", window, weight) + tensors["hallucinator_bias"].numpy()
        np.testing.assert_allclose(decoded[t, y, x], expected * std + mean, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32])
def test_stills_and_motions_have_scales_and_offsets_of_their_own(dtype: torch.dtype) -> None:
    plain = payload()
    stored = {**plain, "statics": plain["statics"].to(dtype), "dynamics": (plain["dynamics"] * 10).clamp(0, 40).to(dtype)}
    affine = {
        "static_scale": torch.tensor([0.5, 1, 2]),
        "static_offset": torch.tensor([1.0, 0, -1]),
        "dynamic_scale": torch.tensor([0.1]),
        "dynamic_offset": torch.tensor([-2.0]),
    }
    before = {name: value.clone() for name, value in stored.items()}
    found = static_dynamic.decode({**stored, **affine}, SPEC).clips
    meant = {
        **plain,
        "statics": stored["statics"].float() * affine["static_scale"] + affine["static_offset"],
        "dynamics": stored["dynamics"].float() * 0.1 - 2,
    }
    torch.testing.assert_close(found, static_dynamic.decode(meant, SPEC).clips)
    assert all(torch.equal(stored[name], value) for name, value in before.items())


def test_a_valid_payload_is_a_submission(tmp_path: Path) -> None:
    tensors = payload()
    tensors |= {**stored_motions(tensors["dynamics"]), "labels": tensors["labels"].to(torch.uint8)}
    with pytest.raises(ValueError, match="over the budget"):  # clips of 4 frames: 2 stills and 2 motions are more than one
        written(tmp_path, tensors, decoder="static_dynamic")
    path = written(tmp_path, tensors, decoder="static_dynamic", task="tiny-ipc5")
    assert len(submission.decode(submission.read(path, SPEC), SPEC)) == 12


Change = Callable[[torch.Tensor], torch.Tensor]
REFUSED: list[tuple[str, Change, str]] = [
    ("statics", lambda t: t[:, 0], r"tensor 'statics' has shape \[3, 16, 16, 3\]; allowed: \[S, P, 16, 16, 3\]"),
    ("statics", lambda t: t[:0], "tensor 'statics' has shape .* every dimension at least 1"),
    ("statics", lambda t: t.to(torch.complex64), "tensor 'statics' has dtype complex64; allowed: uint8, float16, float32"),
    ("dynamics", lambda t: t[:2], r"tensor 'dynamics' has shape \[2, 2, 4, 16, 16, 1\]; allowed: .* with S=3, P=2"),
    ("dynamics", lambda t: t[:, :, :3], "tensor 'dynamics' has shape"),
    ("dynamics", lambda t: t.expand(-1, -1, -1, -1, -1, 3), "tensor 'dynamics' has shape"),
    ("dynamics", lambda t: t * float("nan"), r"tensor 'dynamics' holds nan \(first in row 0\)"),
    ("hallucinator_weight", lambda t: t[:, :3], r"'hallucinator_weight' has shape .* allowed: \[3, 4, 3, 3, 3\]"),
    ("hallucinator_weight", lambda t: t.half(), "'hallucinator_weight' has dtype float16; allowed: float32"),
    ("hallucinator_weight", lambda t: t / 0, "'hallucinator_weight' holds"),
    ("hallucinator_weight", lambda t: t * 1e9, f"decoded values reach from .* allowed: -{MAX_VALUE:g} to {MAX_VALUE:g}"),
    ("hallucinator_weight", lambda t: t * 3e38, "decoded values reach from"),
    ("hallucinator_bias", lambda t: t[:2], "'hallucinator_bias' has shape"),
    ("labels", lambda t: t[::4], "'labels' has 3 rows; allowed: one per decoded clip, 3 slots x 2 statics x 2 dynamics = 12"),
    ("labels", lambda t: t + 1, "clip 8 has label 3; allowed: 0 to 2"),
    ("labels", lambda t: t.float(), "expected int; allowed: class indices"),
]


@pytest.mark.parametrize(("name", "change", "message"), REFUSED)
def test_a_bad_tensor_is_refused_by_name(name: str, change: Change, message: str) -> None:
    tensors = payload()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        static_dynamic.decode({**tensors, name: change(tensors[name])}, SPEC)


@pytest.mark.parametrize("name", ["statics", "dynamics", "hallucinator_weight", "hallucinator_bias", "labels"])
def test_a_missing_tensor_and_an_unknown_one_are_named_at_once(name: str) -> None:
    tensors = payload()
    tensors["extra"] = tensors.pop(name)
    with pytest.raises(ValueError, match=f"'extra' is unknown.*(?s:.)*'{name}' is missing; it must be"):
        static_dynamic.decode(tensors, SPEC)


@pytest.mark.parametrize(("name", "kind"), [("static_scale", "statics"), ("dynamic_offset", "dynamics")])
def test_half_an_affine_and_values_far_out_are_refused_with_the_tensor(name: str, kind: str) -> None:
    one = torch.ones(3 if kind == "statics" else 1)
    with pytest.raises(ValueError, match=f"tensor '{kind}': .* is stored alone"):
        static_dynamic.decode({**payload(), name: one}, SPEC)
    prefix = name.partition("_")[0]
    far = {f"{prefix}_scale": one * 1e30, f"{prefix}_offset": one}
    with pytest.raises(ValueError, match=f"tensor '{kind}': pixel values reach"):
        static_dynamic.decode({**payload(), **far}, SPEC)


def test_a_slot_makes_a_bounded_number_of_clips() -> None:
    with pytest.raises(ValueError, match="make 13 x 5 = 65 clips per slot; allowed: 64"):
        static_dynamic.decode({**payload(3, 13, 5)}, SPEC)


def test_miniucf_ipc1_in_fp32_has_the_bytes_of_the_paper() -> None:
    spec = miniucf.SPEC
    frames, size = spec.frames, spec.size
    meta = torch.device("meta")
    tensors = {
        "statics": torch.empty((50, 2, size, size, 3), device=meta),
        "dynamics": torch.empty((50, 2, frames, size, size, 1), device=meta),
        "hallucinator_weight": IDENTITY[0],
        "hallucinator_bias": IDENTITY[1],
    }
    assert sum(t.numel() for name, t in tensors.items() if name.startswith("hallucinator")) == 327
    assert sum(t.numel() * t.element_size() for t in tensors.values()) == 95_335_708
