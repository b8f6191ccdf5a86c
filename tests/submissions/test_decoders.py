"""Decoders turn tensors into clips exactly, and refuse everything else by the name of the tensor."""

from __future__ import annotations

import io
import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.builders.submissions import LABELS, SPEC, clips
from vddbench import lookup
from vddbench.spec import ClipSet
from vddbench.submissions.decoders import jpeg, keyframes, pixels, ragged_keyframes, still, still_and_clip, video
from vddbench.submissions.tensors import MAX_VALUE

Tensors = dict[str, torch.Tensor]


def valid(decoder: str) -> Tensors:
    frames = clips()
    tensors: dict[str, Tensors] = {
        "pixels": {"clips": frames},
        "still": {"frames": frames[:, 0]},
        "keyframes": {"frames": frames[:, :2], "times": torch.tensor([[0.0, 3.0]] * 3)},
        "jpeg": jpeg.encode(frames, quality=90),
        "ragged_keyframes": {
            "frames": frames.flatten(0, 1)[:6],
            "times": torch.tensor([0, 3, 2, 0, 1, 3], dtype=torch.uint8),
            "counts": torch.tensor([2, 1, 3], dtype=torch.uint8),
        },
        "still_and_clip": {
            "stills": frames[:, 0],
            "clips": frames[:, :2, :8, :8],
            "weight": torch.linspace(-0.5, 1, 18).view(3, 6),
            "bias": torch.tensor([0.0, 0.1, -0.2]),
        },
        "video": video.encode(frames, "av1", crf=30),
    }
    return {**tensors[decoder], "labels": LABELS}


def decode(decoder: str, tensors: Tensors) -> ClipSet:
    return lookup.load("decoder", decoder).decode(tensors, SPEC)


# tests/distillation has static_dynamic's
DECODERS = ["pixels", "still", "keyframes", "ragged_keyframes", "still_and_clip", "jpeg", "video"]


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_makes_clips_and_int64_labels(decoder: str) -> None:
    clip_set = decode(decoder, valid(decoder))
    assert clip_set.clips.shape == (3, *SPEC.clip_shape)
    assert clip_set.labels.dtype == torch.int64
    assert clip_set.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    "name", ["clips", "frames", "stills", "weight", "bias", "times", "counts", "jpeg", "stream", "offsets", "labels"]
)
def test_every_decoder_names_a_misshapen_or_wrongly_typed_tensor(decoder: str, name: str) -> None:
    tensors = valid(decoder)
    if name not in tensors:
        return
    for bad in (tensors[name][None, None], tensors[name][:0], tensors[name].to(torch.complex64)):
        with pytest.raises(ValueError, match=rf"tensor '{name}' (has|is).*allowed: .*"):
            decode(decoder, {**tensors, name: bad})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("decoder", "name"), [("pixels", "clips"), ("still", "frames"), ("keyframes", "frames")])
def test_a_value_that_is_not_finite_is_refused_with_its_row(decoder: str, name: str, value: float) -> None:
    tensors = valid(decoder)
    tensors[name] = tensors[name].to(torch.float16)
    tensors[name][1].view(-1)[5] = value
    with pytest.raises(ValueError, match=rf"tensor '{name}' holds {value} \(first in row 1\); allowed: finite"):
        decode(decoder, tensors)


@pytest.mark.parametrize("decoder", DECODERS)
def test_labels_are_refused_when_out_of_range_or_float(decoder: str) -> None:
    tensors = valid(decoder)
    for bad, message in (
        (torch.tensor([0, 3, 1]), "clip 1 has label 3; allowed: 0 to 2"),
        (torch.tensor([0, 1, -1], dtype=torch.int16), "clip 2 has label -1; allowed: 0 to 2"),
        (torch.tensor([0.0, 1.0, 2.0]), "expected int; allowed: class indices as uint8"),
        (torch.zeros((3, 3), dtype=torch.int64), "expected float; allowed: class indices as"),
        (torch.tensor([[1.0, 0, 0], [0.6, 0.6, 0], [0, 0, 1]]), r"row 1 is not a distribution \(sum 1.2"),
        (torch.tensor([[1.0, 0, 0], [1.5, -0.5, 0], [0, 0, 1]]), "row 1 is not a distribution"),
        (torch.full((3, 3), float("nan")), "holds nan"),
    ):
        with pytest.raises(ValueError, match=message):
            decode(decoder, {**tensors, "labels": bad})


def test_narrow_label_dtypes_cost_less_and_mean_the_same() -> None:
    for dtype in (torch.uint8, torch.int16, torch.int32):
        assert pixels.decode({"clips": clips(), "labels": LABELS.to(dtype)}, SPEC).labels.tolist() == [0, 1, 2]


def test_soft_labels_of_float16_are_normalised_in_float32() -> None:
    rows = torch.softmax(torch.randn((3, 3), generator=torch.Generator().manual_seed(1)), 1).half()
    labels = pixels.decode({"clips": clips(), "labels": rows}, SPEC).labels
    assert labels.dtype == torch.float32
    torch.testing.assert_close(labels.sum(1), torch.ones(3))
    torch.testing.assert_close(labels, rows.float(), atol=1e-3, rtol=0)


def test_plain_uint8_pixels_are_not_copied() -> None:
    tensors = valid("pixels")
    assert pixels.decode(tensors, SPEC).clips.data_ptr() == tensors["clips"].data_ptr()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32])
def test_scale_and_offset_are_applied_per_channel_and_leave_the_payload_as_it_was(dtype: torch.dtype) -> None:
    tensors = {**valid("pixels"), "scale": torch.tensor([1.0, 2, 0.5]), "offset": torch.tensor([0.0, -100, 10])}
    tensors["clips"] = tensors["clips"].to(dtype)
    before = tensors["clips"].clone()
    decoded = pixels.decode(tensors, SPEC).clips
    assert decoded.dtype == torch.float32
    assert torch.equal(decoded, before.float() * tensors["scale"] + tensors["offset"])
    assert torch.equal(tensors["clips"], before)


def test_half_an_affine_is_refused() -> None:
    with pytest.raises(ValueError, match="'scale' is stored alone; allowed: both 'scale' and 'offset', or neither"):
        pixels.decode({**valid("pixels"), "scale": torch.ones(3)}, SPEC)


def test_values_far_beyond_display_range_are_refused() -> None:
    tensors = {**valid("pixels"), "scale": torch.full((3,), 1e30), "offset": torch.zeros(3)}
    with pytest.raises(ValueError, match=f"allowed: -{MAX_VALUE:g} to {MAX_VALUE:g} on the 0-255 scale"):
        pixels.decode(tensors, SPEC)


def test_a_still_repeats_its_frame_without_copying_it() -> None:
    tensors = valid("still")
    decoded = still.decode(tensors, SPEC).clips
    assert all(torch.equal(decoded[:, t], tensors["frames"]) for t in range(SPEC.frames))
    assert decoded.data_ptr() == tensors["frames"].data_ptr()


def test_keyframes_interpolate_linearly_and_stand_still_outside() -> None:
    black, white = torch.zeros((16, 16, 3)), torch.full((16, 16, 3), 240.0)
    frames = torch.stack([torch.stack([black, white])] * 3)
    times = torch.tensor([[0.0, 3.0], [1.0, 2.0], [0.5, 2.0]])
    decoded = keyframes.decode({"frames": frames, "times": times, "labels": LABELS}, SPEC).clips
    expected = [[0.0, 80, 160, 240], [0, 0, 240, 240], [0, 80, 240, 240]]
    torch.testing.assert_close(decoded[:, :, 3, 5, 1], torch.tensor(expected))


def test_a_single_keyframe_is_a_still() -> None:
    frames = clips()[:, :1]
    decoded = keyframes.decode({"frames": frames, "times": torch.ones((3, 1)), "labels": LABELS}, SPEC).clips
    assert torch.equal(decoded, frames.expand_as(decoded))


def test_keyframes_at_every_frame_give_the_clip_back() -> None:
    frames = clips()
    times = torch.arange(4.0).expand(3, 4)
    decoded = keyframes.decode({"frames": frames, "times": times, "labels": LABELS}, SPEC).clips
    assert torch.equal(decoded, frames)


def test_keyframes_of_uint8_are_interpolated_to_the_nearest_grey_level() -> None:
    frames = clips()[:, :2]
    times = torch.tensor([[0.0, 3.0]] * 3)
    decoded = keyframes.decode({"frames": frames, "times": times, "labels": LABELS}, SPEC).clips
    exact = keyframes.decode({"frames": frames.float(), "times": times, "labels": LABELS}, SPEC).clips
    assert decoded.dtype == torch.uint8
    assert (decoded.float() - exact).abs().max() <= 0.5


@pytest.mark.parametrize("row", [[0.0, 3.5], [-0.5, 1.0], [2.0, 1.0], [1.0, 1.0]])
def test_times_out_of_order_or_outside_the_clip_are_refused_by_row(row: list[float]) -> None:
    tensors = valid("keyframes")
    tensors["times"] = torch.tensor([[0.0, 3.0], row, row])
    with pytest.raises(ValueError, match=r"'times' row 1 is .*; allowed: strictly increasing from 0 to 3"):
        keyframes.decode(tensors, SPEC)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16])
def test_ragged_keyframes_are_those_of_each_clip_by_the_arithmetic_of_keyframes(dtype: torch.dtype) -> None:
    tensors = valid("ragged_keyframes")
    frames, times = tensors["frames"].to(dtype), tensors["times"].float()
    decoded = ragged_keyframes.decode({**tensors, "frames": frames}, SPEC)
    assert decoded.labels.tolist() == [0, 1, 2]
    for clip, rows in enumerate((slice(0, 2), slice(2, 3), slice(3, 6))):
        alone = {"frames": frames[rows][None], "times": times[rows][None], "labels": LABELS[clip : clip + 1]}
        assert torch.equal(decoded.clips[clip], keyframes.decode(alone, SPEC).clips[0])


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("counts", [2, 1, 2], "'counts' sums to 5 key-frames; allowed: 6, the rows of"),
        ("counts", [4, 0, 2], "'counts' gives clip 1 0 key-frames; allowed: 1 to 6"),
        ("counts", [2, -1, 5], "'counts' gives clip 1 -1 key-frames; allowed: 1 to 6"),
        ("counts", [2**62, 2**62, 2**63 - 1], "'counts' gives clip 0 4611686018427387904 key-frames; allowed: 1 to 6"),
        ("counts", [3, 3], "'labels' has shape .3.; allowed: .N. or .N, 3. with M=6, N=2"),
        ("times", [0, 3, 2, 0, 0, 3], r"'times' of clip 2 is \[0, 0, 3\]; allowed: strictly increasing from 0 to 3"),
        ("times", [0, 3, 4, 0, 1, 3], r"'times' of clip 1 is \[4\]; allowed: strictly increasing from 0 to 3"),
        ("times", [0, 3], "'times' has shape .2.; allowed: .M. with M=6"),
    ],
)
def test_counts_and_times_that_do_not_describe_the_ragged_keyframes_are_refused(
    name: str, values: list[int], message: str
) -> None:
    tensors = valid("ragged_keyframes")
    dtype = torch.float32 if name == "times" else torch.int64
    with pytest.raises(ValueError, match=f"tensor {message}"):
        ragged_keyframes.decode({**tensors, name: torch.tensor(values, dtype=dtype)}, SPEC)


def test_a_still_and_a_clip_are_mixed_channel_by_channel_in_normalised_units() -> None:
    tensors = valid("still_and_clip")
    tensors["clips"] = clips()  # of full size, so nothing is enlarged
    found = still_and_clip.decode(tensors, SPEC).clips
    mean, std = (torch.tensor(values, dtype=torch.float64) * 255 for values in (SPEC.mean, SPEC.std))
    inputs = torch.cat([tensors["stills"][:, None].expand_as(tensors["clips"]), tensors["clips"]], -1)
    normalised = (inputs.double() - mean.repeat(2)) / std.repeat(2)
    expected = (normalised @ tensors["weight"].double().T + tensors["bias"]) * std + mean
    torch.testing.assert_close(found.double(), expected, atol=1e-2, rtol=1e-4)


def test_the_clip_beside_a_still_is_enlarged_in_time_and_space() -> None:
    tensors = valid("still_and_clip")
    tensors["clips"] = torch.tensor([0, 80], dtype=torch.uint8)[None, :, None, None, None].expand(3, 2, 8, 8, 3).contiguous()
    tensors["weight"], tensors["bias"] = torch.cat([torch.zeros(3, 3), torch.eye(3)], 1), torch.zeros(3)
    found = still_and_clip.decode(tensors, SPEC).clips
    torch.testing.assert_close(found[1, :, 7, 9, 2], torch.tensor([0.0, 20, 60, 80]), atol=1e-3, rtol=0)
    for bad in (torch.zeros((3, 5, 8, 8, 3)), torch.zeros((3, 2, 17, 17, 3))):
        with pytest.raises(ValueError, match=r"'clips' has clips of \d frames .* allowed: at most 4 of 16 x 16"):
            still_and_clip.decode({**tensors, "clips": bad}, SPEC)


def test_jpeg_decodes_to_what_pillow_makes_of_every_frame() -> None:
    tensors = valid("jpeg")
    decoded = jpeg.decode(tensors, SPEC).clips
    data, bounds = tensors["jpeg"].numpy().tobytes(), tensors["offsets"].tolist()
    for i in range(12):
        image = Image.open(io.BytesIO(data[bounds[i] : bounds[i + 1]]))
        assert np.array_equal(decoded.reshape(-1, 16, 16, 3)[i].numpy(), np.asarray(image))


def test_jpeg_of_a_smooth_clip_stays_close_to_it() -> None:
    ramp = torch.arange(16, dtype=torch.uint8) * 15
    smooth = ramp[None, None, :, None, None].expand(3, 4, 16, 16, 3).contiguous()
    decoded = jpeg.decode({**jpeg.encode(smooth, quality=95), "labels": LABELS}, SPEC).clips
    assert (decoded.int() - smooth.int()).abs().float().mean() < 1


def with_frame(data: bytes, at: int = 5) -> Tensors:
    """Valid JPEG tensors with frame `at` (clip 1, frame 1) replaced."""
    good = valid("jpeg")
    bounds = good["offsets"].tolist()
    raw = good["jpeg"].numpy().tobytes()
    parts = [raw[a:b] for a, b in itertools.pairwise(bounds)]
    parts[at] = data
    joined = torch.frombuffer(bytearray(b"".join(parts)), dtype=torch.uint8)
    offsets = torch.tensor(np.cumsum([0, *map(len, parts)]))
    return {"jpeg": joined, "offsets": offsets, "labels": LABELS}


def image_bytes(form: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = (16, 16), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, form, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A small JPEG whose header claims width x height pixels."""
    data = bytearray(image_bytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bomb(65_500, 65_500), "claims too many pixels; allowed: 16 x 16"),
        (bomb(12_000, 9_000), "claims too many pixels|is 12000 x 9000 pixels; allowed: 16 x 16"),
        (image_bytes(size=(16, 32)), "is 16 x 32 pixels; allowed: 16 x 16"),
        (image_bytes()[:-200], "is not a whole JPEG image"),
        (image_bytes()[:20], "is not a whole JPEG image"),
        (image_bytes("PNG"), "is not a whole JPEG image"),
        (image_bytes(mode="CMYK"), r"is JPEG CMYK; allowed: one JPEG image, RGB or L \(grey\)"),
        (b"\xff", "is not a whole JPEG image"),
    ],
)
def test_a_bad_jpeg_frame_is_refused_with_its_clip_and_frame_and_no_warning(data: bytes, message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=f"clip 1 frame 1 of tensor 'jpeg' .*({message})"):
            jpeg.decode(with_frame(data), SPEC)


def test_grey_jpeg_frames_become_rgb() -> None:
    decoded = jpeg.decode(with_frame(image_bytes(mode="L")), SPEC).clips
    assert not decoded[1, 1].any()


def test_flipped_bits_in_jpeg_bytes_never_crash() -> None:
    good, rng = valid("jpeg"), np.random.default_rng(0)
    for _ in range(300):
        data = good["jpeg"].clone()
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        try:
            decoded = jpeg.decode({**good, "jpeg": data}, SPEC).clips
            assert decoded.shape == (3, *SPEC.clip_shape)
        except ValueError as error:
            assert "tensor 'jpeg'" in str(error)  # damage that only changes pixels is no error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: o[:-1], "has 12 entries; allowed: one per frame and one more, 13"),
        (lambda o: o + 1, "goes from 1 to"),
        (lambda o: torch.cat([o[:-1], o[-1:] + 10**12]), "goes from 0 to 10000"),
        (lambda o: torch.cat([o[:3], o[2:3], o[4:]]), "at entry 2; allowed: strictly increasing"),
        (lambda o: torch.cat([o[:3], -o[3:4], o[4:]]), "at entry 2; allowed: strictly increasing"),
    ],
)
def test_offsets_that_leave_the_bytes_are_refused(change: Any, message: str) -> None:
    tensors = valid("jpeg")
    with pytest.raises(ValueError, match=f"tensor 'offsets' .*{message}"):
        jpeg.decode({**tensors, "offsets": change(tensors["offsets"].long())}, SPEC)


@pytest.mark.parametrize("decoder", lookup.names("decoder"))
def test_every_decoder_names_unknown_and_missing_tensors_at_once(decoder: str) -> None:
    with pytest.raises(ValueError, match=r"'nonsense' is unknown.*(?s:.)*'labels' is missing; it must be \[N\] or"):
        decode(decoder, {"nonsense": torch.zeros(3)})


def test_an_unknown_decoder_gets_the_right_names_back() -> None:
    with pytest.raises(LookupError, match="did you mean keyframes"):
        lookup.load("decoder", "keyframe")
