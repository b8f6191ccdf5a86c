"""A wrong guess when importing costs accuracy and shows nowhere else, so `pack` asks wherever two readings fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.builders.submissions import SPEC, TASK, clips
from vddbench.data.store import Store
from vddbench.data.stream_codec import encode
from vddbench.spec import ClipSet, DatasetSpec, Task
from vddbench.submissions import ranges, submission
from vddbench.submissions.check import check, contents_of, warnings_of
from vddbench.submissions.conversion import Conversion
from vddbench.submissions.pack import pack

SPEC8 = SPEC.model_copy(update={"class_names": tuple("abcdefgh")})
Change = Callable[[torch.Tensor], torch.Tensor]
FIVE = Task.parse("tiny-ipc5")


def packed(
    value: object,
    root: Path,
    *,
    task: Task = TASK,
    spec: DatasetSpec | None = None,
    preview: Path | None = None,
    **options: Any,
) -> tuple[ClipSet, str]:
    """The decoded submission and the report of a .pt file, or of a path."""
    spec = spec or (SPEC8 if task is FIVE else SPEC)
    source = value if isinstance(value, Path) else root / "syn.pt"
    if not isinstance(value, Path):
        torch.save(value, source)
    folder, report = pack(
        source, task, "mine", conversion=Conversion(**options), out=root / "out", spec=spec, force=True, preview=preview
    )
    return submission.decode(submission.read(folder, spec), spec), "\n".join(report)


def smooth(num_clips: int = 8) -> torch.Tensor:
    """[N, 4, 16, 16, 3] in 0-1: learned clips, which reach neither whole grey levels nor the ends exactly."""
    return torch.rand((num_clips, *SPEC.clip_shape), generator=torch.Generator().manual_seed(1)) * 0.98 + 0.01


def two_outliers(values: torch.Tensor) -> torch.Tensor:
    changed = values.clone()
    changed.view(-1)[:2] = torch.tensor([-0.03, 1.03])
    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x * 1.06 - 0.03,  # a generator that does not clamp
        two_outliers,
        lambda x: torch.where(x < 0.02, -1e-6, x),
        lambda x: x * 0.3,  # dark clips
    ],
)
def test_clips_in_0_1_are_read_so_whatever_a_few_values_do(change: Change, tmp_path: Path) -> None:
    values = change(smooth())
    clip_set, report = packed({"clips": values, "labels": list(range(8))}, tmp_path, task=FIVE)
    assert "taken as 0-1 (detected)" in report
    torch.testing.assert_close(clip_set.clips.float(), values * 255, atol=1, rtol=0)


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda x: (x * 2 - 1) * 1.05, ("-1-1", "imagenet")),
        (lambda x: (x * 2 - 1) * 1.2, ("-1-1", "imagenet")),  # 13 % of the values are outside
        (lambda x: (x - 0.5) * 2, ("-1-1", "imagenet")),  # or normalised clips of little contrast
        (lambda x: torch.where(x < 0.03, -1.0, 0.85 + x / 10), ("-1-1", "imagenet")),  # thin dark strokes on white
        (lambda x: x * 255 - 20, ("0-255",)),
        (lambda x: x * 1.4, ("0-1", "-1-1")),
        (lambda x: x - 0.5, ("-1-1", "imagenet")),
    ],
)
def test_of_two_scales_one_must_be_stated(change: Change, options: tuple[str, ...], tmp_path: Path) -> None:
    values = {"clips": change(smooth()), "labels": list(range(8))}
    with pytest.raises(ValueError, match="are not clearly on one scale") as refusal:
        packed(values, tmp_path, task=FIVE)
    for option in options:
        assert f"`--range {option}` gives mean" in str(refusal.value)
        assert f"taken as {option} (as stated)" in packed(values, tmp_path, task=FIVE, value_range=option)[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", [name for name in ranges.READINGS if name != "0-255"])
def test_real_clips_in_any_known_normalisation_come_back_exactly(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    std, mean = map(torch.tensor, ranges.READINGS[name])
    for frames in (clips(), clips() // 8):  # of full and of little contrast
        values = ((frames / 255 - mean) / std).to(dtype)
        clip_set, report = packed({"clips": values, "labels": (0, 1, 2)}, tmp_path)
        assert f"taken as {name} (detected)" in report and torch.equal(clip_set.clips, frames)
    as_numbers = "/".join(",".join(f"{number:.6f}" for number in numbers.tolist()) for numbers in (mean, std))
    assert torch.equal(packed({"clips": values, "labels": [0, 1, 2]}, tmp_path, value_range=as_numbers)[0].clips, frames)


def test_learned_clips_that_end_at_black_and_white_show_their_normalisation(tmp_path: Path) -> None:
    std, mean = map(torch.tensor, ranges.READINGS["kinetics"])
    values = ((smooth() * 1.2 - 0.1).clamp(0, 1) - mean) / std
    assert "taken as kinetics (detected)" in packed({"clips": values, "labels": list(range(8))}, tmp_path, task=FIVE)[1]


def test_clips_standardised_by_numbers_of_their_own_are_refused(tmp_path: Path) -> None:
    values = smooth()
    std, mean = torch.std_mean(values, (1, 2, 3, 4), keepdim=True)
    with pytest.raises(ValueError, match=r"standardised with numbers of its own.*Undo that before saving"):
        packed({"clips": (values - mean) / std, "labels": list(range(8))}, tmp_path, task=FIVE)


@pytest.mark.parametrize("text", ["0.5", "a/b", "0.5/0", "0.5,0.4/0.2", "0.5/-1", "nan/1", "1/2/3", ""])
def test_a_range_that_is_no_normalisation_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not known; allowed: 0-255, .*MEAN,MEAN,MEAN/STD,STD,STD"):
        ranges.parse(text)


def centred(noise: float) -> torch.Tensor:
    """Labels of 8 clips as kernel methods hold them, learned by `noise`."""
    change = torch.randn((8, 8), generator=torch.Generator().manual_seed(0)) * noise
    return (torch.eye(8) - 1 / 8) / math.sqrt(8 / 10) + change - change.mean(1, keepdim=True)


def test_centred_one_hot_labels_are_class_indices(tmp_path: Path) -> None:
    clip_set, report = packed({"clips": clips(8), "labels": centred(0.005).roll(1, 0)}, tmp_path, task=FIVE)
    assert clip_set.labels.tolist() == [7, 0, 1, 2, 3, 4, 5, 6] and "centred one-hot rows became class indices" in report


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (centred(0.2), r"look centred.*`--labels-as centred` undoes the centring.*`--labels-as argmax`"),
        (torch.eye(8) * 9 - 2, r"look like logits\. `--labels-as softmax`.*`--labels-as argmax`"),
        (torch.eye(8) * 70 + 3, r"do not sum to 1.*divide each row by its sum.*`--labels-as argmax`"),
    ],
)
def test_scores_become_labels_only_as_stated(labels: torch.Tensor, message: str, tmp_path: Path) -> None:
    source = {"clips": clips(8), "labels": labels}
    with pytest.raises(ValueError, match=message):
        packed(source, tmp_path, task=FIVE)
    assert packed(source, tmp_path, task=FIVE, labels_as="argmax")[0].labels.tolist() == list(range(8))
    soft = packed(source, tmp_path, task=FIVE, labels_as="softmax")[0].labels
    torch.testing.assert_close(soft, labels.softmax(1), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match=r"--labels-as 'log' .*allowed: argmax, softmax, centred"):
        packed(source, tmp_path, task=FIVE, labels_as="log")


def test_undoing_the_centring_gives_back_the_probabilities(tmp_path: Path) -> None:
    probabilities = torch.rand((8, 8), generator=torch.Generator().manual_seed(0)).softmax(1)
    source = {"clips": clips(8), "labels": (probabilities - 1 / 8) / math.sqrt(8 / 10)}
    soft = packed(source, tmp_path, task=FIVE, labels_as="centred")[0].labels
    torch.testing.assert_close(soft, probabilities, atol=1e-5, rtol=0)
    log = packed({"clips": clips(8), "labels": probabilities.log()}, tmp_path, task=FIVE)[0].labels
    torch.testing.assert_close(log, probabilities, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0, 1],
        (2, 0, 1),
        [2.0, 0.0, 1.0],
        [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
        [torch.tensor(2), torch.tensor(0), torch.tensor(1)],
        [np.int64(2), np.int64(0), np.int64(1)],
        np.array([2, 0, 1]),
        np.array([2, 0, 1], np.uint16),
        ["cat", "Ant", "bee"],
        torch.tensor([[False, False, True], [True, False, False], [False, True, False]]),
    ],
)
@pytest.mark.parametrize("of_numpy", [False, True])
def test_labels_in_every_python_form_are_used(labels: object, of_numpy: bool, tmp_path: Path) -> None:
    listed = [clip.numpy() if of_numpy else clip for clip in clips()]
    clip_set, report = packed({"clips": listed, "labels": labels}, tmp_path)
    assert clip_set.labels.tolist() == [2, 0, 1] and torch.equal(clip_set.clips, clips())
    assert "0 = ant, 1 = bee, 2 = cat" in report


def test_a_list_of_classes_in_the_file_decides_their_order(tmp_path: Path) -> None:
    source = {"images": clips(), "labels": [0, 1, 2], "class_names": ["cat", "ant", "bee"], "format": "v1"}
    clip_set, report = packed(source, tmp_path)
    assert clip_set.labels.tolist() == [2, 0, 1] and "moved from the order of 'class_names' in the file (cat, ant" in report
    soft = packed({**source, "labels": (torch.eye(3) * 0.7 + 0.1).half()}, tmp_path)[0].labels
    assert soft.argmax(1).tolist() == [2, 0, 1]
    for names, message in ((["cat", "ant", "dog"], "no class named 'dog'"), (["cat", "ant"], "2 names; allowed: each of 3")):
        with pytest.raises(ValueError, match=message):
            packed({**source, "class_names": names}, tmp_path)


def test_the_report_names_the_classes_whose_index_depends_on_capitals(tmp_path: Path) -> None:
    """The numbers of UCF101's classInd.txt, less 1, are others for four classes than those of sorted names."""
    spec = SPEC.model_copy(update={"class_names": ("Ham", "HammerThrow", "Hammering")})
    order = "0 = Ham, 1 = HammerThrow, 2 = Hammering (names sorted, capitals before small letters: 1 = HammerThrow, 2 = Hamm"
    soft = torch.eye(3) * 0.7 + 0.1
    for labels, kind in (([0, 1, 2], "class indices,"), (soft, "probabilities (soft track) of the classes")):
        _, report = packed({"images": clips(), "labels": labels}, tmp_path, task=Task.parse("tiny-ipc5"), spec=spec)
        assert f"labels: {kind} {order}" in report


@pytest.mark.parametrize(
    "order",
    [
        {"class_to_idx": {"cat": 0, "bee": 2, "ant": 1}},
        {"idx_to_class": {1: "ant", 0: "cat", 2: "bee"}},
        {"classes": {"0": "cat", "1": "ant", "2": "bee"}},
        {"class_names": np.array([b"cat", b"ant", b"bee"])},
    ],
)
def test_an_order_of_classes_in_a_dict_or_in_bytes_is_used(order: dict[str, object], tmp_path: Path) -> None:
    clip_set, report = packed({"images": clips(), "labels": [0, 1, 2], **order}, tmp_path)
    assert clip_set.labels.tolist() == [2, 0, 1]
    assert f"moved from the order of {next(iter(order))!r} in the file (cat, ant" in report


def test_the_order_of_classes_is_that_of_the_file_of_labels_and_never_changes_names(tmp_path: Path) -> None:
    order = {"class_names": ["cat", "ant", "bee"]}
    torch.save({"labels": torch.tensor([0, 1, 2]), **order}, tmp_path / "labels.pt")
    torch.save(["cat", "ant", "bee"], tmp_path / "names.pt")
    np.savez(tmp_path / "clips.npz", clips=clips().numpy(), labels=np.arange(3), class_names=np.array(order["class_names"]))
    named = {"clips": clips(), "labels": ["cat", "ant", "bee"], **order}
    files = [(clips(), "labels.pt"), (clips(), "names.pt"), (tmp_path / "clips.npz", None), (named, None)]
    for source, labels in files:
        options = {"labels": tmp_path / labels} if labels else {}
        assert packed(source, tmp_path, **options)[0].labels.tolist() == [2, 0, 1]
    assert packed((clips(), ["cat", "ant", "bee"]), tmp_path)[0].labels.tolist() == [2, 0, 1]
    several = {"clips": clips(), "labels": ["x", "y", "z"], "targets": ["cat", "ant", "bee"]}
    assert packed(several, tmp_path, labels_key="targets")[0].labels.tolist() == [2, 0, 1]


def test_labels_that_begin_at_1_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the labels are 1 to 3; .*subtract 1 from them, if label 1 is ant"):
        packed({"clips": clips(), "labels": [1, 2, 3]}, tmp_path)


def test_a_class_axis_that_could_be_the_clips_of_a_class_is_not_taken_for_labels(tmp_path: Path) -> None:
    square = clips(9).reshape(3, 3, *SPEC.clip_shape)
    with pytest.raises(ValueError, match="--labels-by-class"):
        packed(square, tmp_path, task=Task.parse("tiny-ipc5"))


def folder_of_clips(root: Path, kind: str) -> Path:
    """Class folders, the second named like the last class, with the clips of `clips()`."""
    root = root / kind
    for label, clip in enumerate(clips().numpy()):
        folder = root / (f"{label:05d}" if kind == "beside" else SPEC.class_names[label])
        folder.mkdir(parents=True)
        for t, frame in enumerate(clip):
            if kind == "beside":
                Image.fromarray(frame).save(folder / f"class{label:05d}_id00000_t{t:03d}.png")
            elif kind == "in a folder":
                (folder / "clip7").mkdir(exist_ok=True)
                Image.fromarray(frame).save(folder / "clip7" / f"frame_{t + 9}.png")
        if kind == "gif":
            first, *rest = [Image.fromarray(frame // 64 * 64) for frame in clip]  # 64 colours, so that the format loses none
            first.save(folder / "clip.gif", save_all=True, append_images=rest)
    return root


NOT_FOR_FOLDERS = {"layout": "NHWC", "clips_key": "x", "labels_key": "y", "labels_by_class": True}
RECOGNISED = {
    "beside": "pictures CLIP_t000, CLIP_t001, ... beside each other, as RDED and Video-DC save them",
    "in a folder": "a folder of pictures for each clip, as diffusion and selection methods save them",
    "gif": "videos (.gif), as diffusion and selection methods save them",
}


@pytest.mark.parametrize("kind", RECOGNISED)
def test_a_folder_of_pictures_is_a_set(kind: str, tmp_path: Path) -> None:
    clip_set, report = packed(folder_of_clips(tmp_path, kind), tmp_path)
    assert "scaled" not in report and "more than" not in report
    assert f"recognised: class folders of {RECOGNISED[kind]}" in report
    assert torch.equal(clip_set.clips, clips() // 64 * 64 if kind == "gif" else clips())
    assert clip_set.labels.tolist() == [0, 1, 2]
    assert ("numbers, counted from 0" if kind == "beside" else "named like the classes") in report


def gif(file: Path, greys: Sequence[int]) -> None:
    """Pillow saves equal neighbours as one picture that is shown longer."""
    file.parent.mkdir(parents=True)
    first, *rest = [Image.new("RGB", (SPEC.size, SPEC.size), (grey, grey, grey)) for grey in greys]
    first.save(file, save_all=True, append_images=rest, duration=100)


def test_equal_frames_that_a_gif_holds_once_are_read_as_often_as_they_were_saved(tmp_path: Path) -> None:
    greys = [0, 64, 64, 0]
    for label, name in enumerate(SPEC.class_names):
        gif(tmp_path / "set" / name / "clip.gif", [grey + label for grey in greys])
    with Image.open(tmp_path / "set" / name / "clip.gif") as image:
        assert (getattr(image, "n_frames", 1), len(greys)) == (3, SPEC.frames)
    clip_set, _ = packed(tmp_path / "set", tmp_path)
    assert clip_set.clips[0, :, 0, 0, 0].tolist() == greys


@pytest.mark.parametrize("greys", [[0, 64], [0, 64, 0], [0, 0, 64, 64]])
def test_a_gif_that_may_have_had_fewer_frames_than_a_clip_is_not_stretched(greys: Sequence[int], tmp_path: Path) -> None:
    for name in SPEC.class_names:
        gif(tmp_path / "set" / name / "clip.gif", greys)
    with pytest.raises(ValueError, match=r"the clip has [23] frames; allowed: 4 or more"):
        packed(tmp_path / "set", tmp_path)


def test_pictures_of_16_bits_a_colour_are_refused(tmp_path: Path) -> None:
    root = folder_of_clips(tmp_path, "in a folder")
    Image.fromarray(np.full((16, 16), 40_000, np.uint16)).save(root / "ant" / "clip7" / "frame_9.png")
    with pytest.raises(ValueError, match=r"a frame has pixels of kind I;16; allowed are 8 bits a colour"):
        packed(root, tmp_path)


def test_a_folder_of_videos_is_a_set_and_of_longer_ones_the_middle_is_used(tmp_path: Path) -> None:
    grey = [np.full((16, 16, 3), value, np.uint8) for value in range(20, 220, 20)]
    for name, frames in (("ant", grey[:4]), ("cat", grey)):
        (tmp_path / "set" / name).mkdir(parents=True)
        encode(tmp_path / "set" / name / "0.avi", frames, "mpeg4", rate=5, bit_rate=1_000_000)
    (tmp_path / "set" / "split.csv").write_text("folder_name,label,split\n")  # as OptDistill saves it
    clip_set, report = packed(tmp_path / "set", tmp_path)
    assert clip_set.labels.tolist() == [0, 2] and "not read: split.csv beside the class folders" in report
    assert "recognised: class folders of videos (.avi), as OptDistill saves them" in report and "scaled" not in report
    assert "\nlength: 1 clip has more than 4 frames (10); the middle 4 are used\n" in report
    shown = clip_set.clips.float().mean((2, 3, 4))
    torch.testing.assert_close(shown, torch.tensor([[20.0, 40, 60, 80], [80, 100, 120, 140]]), atol=4, rtol=0)
    encode(tmp_path / "set" / "ant" / "1.avi", grey[:3], "mpeg4", rate=5)
    with pytest.raises(ValueError, match=r"1.avi: the clip has 3 frames; allowed: 4 or more"):
        packed(tmp_path / "set", tmp_path)


def test_a_damaged_video_is_refused_even_if_damaged_videos_of_the_dataset_itself_are_kept(tmp_path: Path) -> None:
    (tmp_path / "set" / "ant").mkdir(parents=True)
    video = tmp_path / "set" / "ant" / "0.avi"
    ground = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    encode(video, [np.roll(ground, 3 * t, axis=1) for t in range(12)], "mpeg4", rate=5)
    content = bytearray(video.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    video.write_bytes(content)
    pinned = SPEC.model_copy(update={"num_videos": {"train": 4, "test": 2}})
    for spec in (SPEC, pinned):
        with pytest.raises(ValueError, match=r"0.avi: damaged: \d+ of 12 frames could only be guessed"):
            packed(tmp_path / "set", tmp_path, spec=spec, resize=True)


def test_a_video_that_is_shorter_than_its_sound_is_refused(tmp_path: Path) -> None:
    """The header of a webm has the duration of the sound and no number of frames."""
    (tmp_path / "set" / "ant").mkdir(parents=True)
    with av.open(str(tmp_path / "set" / "ant" / "0.webm"), "w") as container:
        pictures, sound = container.add_stream("libvpx-vp9", rate=25), container.add_stream("libopus", rate=48_000)
        pictures.width, pictures.height, pictures.pix_fmt = 16, 16, "yuv420p"
        for _ in range(3):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        second = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), format="fltp", layout="mono")
        second.sample_rate = 48_000
        for packets in (pictures.encode(), sound.encode(second), sound.encode()):
            container.mux(packets)
    with pytest.raises(ValueError, match=r"0.webm: the clip has 3 frames; allowed: 4 or more"):
        packed(tmp_path / "set", tmp_path)


def square(value: float, side: int) -> torch.Tensor:
    """One clip, grey, with a brighter square of half its width in the middle: [4, side, side, 3] uint8."""
    clip = torch.full((4, side, side, 3), value)
    clip[:, side // 4 : -side // 4, side // 4 : -side // 4] += 100
    return clip.to(torch.uint8)


def test_clips_of_another_size_are_scaled_only_if_asked_for(tmp_path: Path) -> None:
    """Videos, pictures and tensors of the same clips come out alike but at edges, and the report counts those scaled."""
    sides, due = (16, 32, 32), torch.stack([square(value, 16) for value in (20, 60, 100)]).float()
    big = torch.stack([square(value, 32) for value in (20, 60, 100)])
    for kind in ("videos", "pictures"):
        for label, (side, name) in enumerate(zip(sides, SPEC.class_names, strict=True)):
            folder = tmp_path / kind / name
            folder.mkdir(parents=True)
            frames = list(square(20 + 40 * label, side).numpy())
            if kind == "videos":
                encode(folder / "0.mp4", frames, "libx264", rate=5, options={"crf": "1"})
            for t, frame in enumerate(frames if kind == "pictures" else []):
                Image.fromarray(frame).save(folder / f"a_t{t}.png")
        with pytest.raises(ValueError, match=r"bee\S*: its frames are 32x32; allowed: 16x16.* --resize scales and crops"):
            packed(tmp_path / kind, tmp_path)
        clip_set, report = packed(tmp_path / kind, tmp_path, resize=True)
        torch.testing.assert_close(clip_set.clips.float(), due, atol=25, rtol=0)
        assert "scaled to 16x16 as `prepare` does it: 2 from 32x32" in report
    source = {"clips": big.permute(0, 4, 1, 2, 3).contiguous(), "labels": [0, 1, 2]}
    with pytest.raises(ValueError, match=r"fits no layout; clips here have T=4, H=W=16.* --resize does it, bilinear"):
        packed(source, tmp_path)
    clip_set, report = packed(source, tmp_path, resize=True)
    torch.testing.assert_close(clip_set.clips.float(), due, atol=25, rtol=0)
    assert "layout: NCTHW (detected)" in report and "bilinear with anti-aliasing: 3 from 32x32" in report
    stills = packed({"clips": big[:, 0], "labels": [0, 1, 2]}, tmp_path, resize=True, layout="NHWC")[0].clips
    torch.testing.assert_close(stills.float(), due, atol=25, rtol=0)


def test_clips_that_have_the_size_are_not_changed_by_resize(tmp_path: Path) -> None:
    for source in (folder_of_clips(tmp_path, "beside"), {"clips": clips(), "labels": [0, 1, 2]}):
        clip_set, report = packed(source, tmp_path, resize=True)
        assert torch.equal(clip_set.clips, clips()) and ": no clip, all have this size" in report
    for option, value in (("resize", True), ("drop_last_frame", True), *NOT_FOR_FOLDERS.items()):
        with pytest.raises(ValueError, match=rf"--{option.replace('_', '-')}: not for a static-dynamic set"):
            packed({"clips": clips()}, tmp_path, decoder="static_dynamic", **{option: value})


def test_squares_are_scaled_whole_even_if_the_videos_of_the_dataset_are_cropped(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"resize": (24, 20)})  # (w, h), before the crop to 16x16
    for label, name in enumerate(SPEC.class_names):
        (tmp_path / "set" / name).mkdir(parents=True)
        for t, frame in enumerate(square(20 + label, 32).numpy()):
            Image.fromarray(frame).save(tmp_path / "set" / name / f"a_t{t}.png")
    scaled = packed(tmp_path / "set", tmp_path, spec=spec, resize=True)[0].clips
    assert torch.equal(scaled, packed(tmp_path / "set", tmp_path, resize=True)[0].clips)


def test_a_clip_that_is_too_short_and_too_large_is_refused_for_both(tmp_path: Path) -> None:
    for t in range(3):
        (tmp_path / "set" / "ant").mkdir(parents=True, exist_ok=True)
        Image.fromarray(square(20, 32)[t].numpy()).save(tmp_path / "set" / "ant" / f"a_t{t}.png")
    with pytest.raises(ValueError, match=r"the clip has 3 frames; allowed: 4 or more.*; its frames are 32x32; allowed: 16x16"):
        packed(tmp_path / "set", tmp_path)


def test_folders_that_leave_a_question_open_are_refused(tmp_path: Path) -> None:
    root = folder_of_clips(tmp_path, "in a folder")
    (root / "ant" / "clip7" / "frame_9.png").unlink()
    with pytest.raises(ValueError, match=r"the clip has 3 frames; allowed: 4 or more.*Shorter clips are not stretched"):
        packed(root, tmp_path)
    (root / "ant" / "class00000_id00003.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"id00003.jpg is not a clip; .*stills are packed from a tensor"):
        packed(root, tmp_path)
    (root / "ant").rename(root / "dog")
    with pytest.raises(ValueError, match=r"no class named 'dog'.* has 3 classes: is --task right"):
        packed(root, tmp_path)
    with pytest.raises(ValueError, match=r"--labels: not for folders, .*save clips and labels as tensors"):
        packed(root, tmp_path, labels=tmp_path / "y.pt")
    with pytest.raises(ValueError, match=r"--layout and --decoder: not for folders, .*or for stills"):
        packed(root, tmp_path, layout="NHWC", decoder="still")
    for option, value in NOT_FOR_FOLDERS.items():
        with pytest.raises(ValueError, match=rf"--{option.replace('_', '-')}: not for folders"):
            packed(root, tmp_path, **{option: value})
    (root / "dog").rename(root / "3")
    with pytest.raises(ValueError, match=r"class folders .*no class named '3'.*; numbers are read as class indices"):
        packed(root, tmp_path)
    (tmp_path / "flat").mkdir()
    with pytest.raises(ValueError, match=r"flat is empty; a folder of clips has one folder for each class$"):
        packed(tmp_path / "flat", tmp_path)
    for name in ("images.pt", "labels.pt", "lr.pt"):
        (tmp_path / "flat" / name).write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"files images.pt, labels.pt, lr.pt; .* give the file itself, e.g. pack \S*images.pt$"
    ):
        packed(tmp_path / "flat", tmp_path)
    (tmp_path / "flat" / "dynamic_best.pt").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"files dynamic_best.pt, .*labels.pt, ...; .* set: --statics FILE --hallucinator FILE"
    ):
        packed(tmp_path / "flat", tmp_path)


def test_the_preview_shows_the_clips_of_each_class(tmp_path: Path) -> None:
    bright = torch.stack([torch.full(SPEC.clip_shape, value, dtype=torch.uint8) for value in (0, 120, 250)])
    packed({"clips": bright, "labels": [0, 1, 2]}, tmp_path, preview=tmp_path / "look.png")
    with Image.open(tmp_path / "look.png") as picture:
        assert {value for _, value in picture.getcolors(10_000)} >= {(0, 0, 0), (120, 120, 120), (250, 250, 250)}


def test_a_set_that_looks_unlike_the_data_is_warned_of(tiny: Store, tiny_random: Path, tmp_path: Path) -> None:
    honest = submission.decode(submission.read(tiny_random), tiny.spec)
    values = honest.clips.float()
    noise = torch.randint(70, 150, values.shape, generator=torch.Generator().manual_seed(0))
    for changed, message in (
        (values, ""),
        (values * 0.226 + 115, "LOOK UNLIKE THE DATA: mean"),  # 0-1 taken for normalised values
        (values / 2 + 127, "LOOK UNLIKE THE DATA: mean"),  # 0-1 taken for -1-1
        (values * 0 + 240, "LOOK UNLIKE THE DATA: mean"),
        (noise, "the clips are noise: pixels side by side correlate by"),
    ):
        contents = contents_of(ClipSet(clips=changed.round().to(torch.uint8), labels=honest.labels), tiny.spec, tiny.train)
        warnings = "\n".join(warnings_of(contents, tiny.spec))
        assert message in warnings and ("LOOK" in warnings or "noise" in warnings) == bool(message)
    torch.save({"clips": values / 255, "labels": honest.labels}, tmp_path / "syn.pt")
    folder, report = pack(tmp_path / "syn.pt", "tiny-ipc1", "wrong", conversion=Conversion(value_range="-1-1"), out=tmp_path)
    assert any(f"train split: {contents.train}" in line for line in report)
    assert any("warning: THE CLIPS LOOK UNLIKE" in line for line in report)
    assert any("LOOK UNLIKE" in warning for warning in check(folder).warnings)
