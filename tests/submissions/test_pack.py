"""`pack` turns research tensors into submissions, reports how it understood them, and asks if two readings are possible."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.builders.submissions import LABELS, SPEC, TASK, all_files, clips
from vddbench.data.store import Store
from vddbench.spec import IMAGENET_MEAN, IMAGENET_STD, ClipSet, Task
from vddbench.submissions import submission
from vddbench.submissions.conversion import Conversion, Declaration
from vddbench.submissions.pack import pack

MEAN, STD = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
LARGE = SPEC.model_copy(update={"class_names": tuple("abcdefgh")})  # 8 classes: narrow labels pay for scale and offset


def save(root: Path, value: object, name: str = "syn.pt") -> Path:
    path = root / name
    torch.save(value, path)
    return path


def packed(source: Path, root: Path, **options: Any) -> tuple[ClipSet, str]:
    """The decoded submission and the report."""
    spec = options.pop("spec", SPEC)
    task, force = options.pop("task", TASK), options.pop("force", False)
    conversion = Conversion(**options)
    folder, report = pack(source, task, "mine", conversion=conversion, out=root / "out", spec=spec, force=force)
    return submission.decode(submission.read(folder, spec), spec), "\n".join(report)


def normalised(frames: torch.Tensor) -> torch.Tensor:
    """[N, T, H, W, 3] uint8 -> ImageNet-normalised [N, 3, T, H, W], as research code holds it."""
    return ((frames.float() / 255 - MEAN) / STD).permute(0, 4, 1, 2, 3).contiguous()


def test_imagenet_normalised_real_clips_come_back_exactly(tmp_path: Path) -> None:
    clip_set, report = packed(save(tmp_path, {"clips": normalised(clips()), "labels": LABELS}), tmp_path)
    assert torch.equal(clip_set.clips, clips())
    assert clip_set.labels.tolist() == [0, 1, 2]
    assert "layout: NCTHW (detected)" in report and "stills" not in report
    assert "taken as imagenet (detected)" in report
    assert "quantisation error at most" in report


def test_learned_clips_that_leave_0_255_come_back_within_half_a_step(tmp_path: Path) -> None:
    noise = torch.randn((8, 3, 4, 16, 16), generator=torch.Generator().manual_seed(0)) * 1.5
    clip_set, report = packed(save(tmp_path, {"image_syn": noise, "label_syn": torch.arange(8)}), tmp_path, spec=LARGE)
    due = (noise.permute(0, 2, 3, 4, 1) * STD + MEAN) * 255
    steps = (due.amax((0, 1, 2, 3)) - due.amin((0, 1, 2, 3))) / 255
    assert ((clip_set.clips - due).abs() <= steps / 2 + 1e-3).all()
    assert "with a scale and offset per channel; outside 0-255: " in report


def test_float_dtypes_are_stored_on_request_and_must_fit(tmp_path: Path) -> None:
    source = save(tmp_path, {"clips": normalised(clips(1)), "labels": LABELS[:1]})
    clip_set, _ = packed(source, tmp_path, dtype="float16")
    torch.testing.assert_close(clip_set.clips, clips(1).float(), atol=0.1, rtol=0)
    source = save(tmp_path, {"clips": normalised(clips()), "labels": LABELS})
    with pytest.raises(ValueError, match="over the budget of tiny-ipc1"):
        packed(source, tmp_path / "b", dtype="float32")
    assert all_files(tmp_path / "b") == []
    for count, advice in ((15, "5 clips per class: did you mean --task tiny-ipc5"), (6, "Store fewer clips$")):
        with pytest.raises(ValueError, match=advice):
            packed(save(tmp_path, {"clips": clips(count), "labels": torch.arange(count) % 3}), tmp_path / "b")


@pytest.mark.parametrize("layout", ["NTHWC", "NCTHW", "NTCHW"])
def test_every_common_layout_is_detected(tmp_path: Path, layout: str) -> None:
    moved = clips().permute(["NTHWC".index(letter) for letter in layout]).contiguous()
    clip_set, report = packed(save(tmp_path, {"clips": moved, "labels": LABELS}), tmp_path)
    assert torch.equal(clip_set.clips, clips())
    assert f"layout: {layout} (detected)" in report


def test_any_order_can_be_stated(tmp_path: Path) -> None:
    moved = clips().permute(4, 2, 0, 3, 1).contiguous()
    clip_set, report = packed(save(tmp_path, {"clips": moved, "labels": LABELS}), tmp_path, layout="CHNWT")
    assert torch.equal(clip_set.clips, clips())
    assert "CHNWT (as stated)" in report


def test_a_class_axis_before_the_clips_gives_the_labels(tmp_path: Path) -> None:
    per_class = clips(6).reshape(3, 2, *SPEC.clip_shape)
    clip_set, report = packed(save(tmp_path, per_class), tmp_path, task=Task.parse("tiny-ipc5"))
    assert torch.equal(clip_set.clips, clips(6))
    assert clip_set.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert "KNTHWC" in report


def test_clips_of_another_length_are_not_taken_for_stills_of_each_class(tmp_path: Path) -> None:
    short = save(tmp_path, clips()[:, :2].contiguous())  # 3 clips of 2 frames, or 2 stills of each of 3 classes
    for options in ({}, {"labels_by_class": True}):
        with pytest.raises(
            ValueError, match=r"clips of 2 frames instead of 4, or 2 stills of each class\. .* Stills: --layout KNHWC"
        ):
            packed(short, tmp_path, task=Task.parse("tiny-ipc5"), **options)
    assert "labels: by class (from the axis of classes in KNHWC)" in packed(short, tmp_path, layout="KNHWC")[1]


def test_of_two_possible_layouts_one_must_be_stated(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"frames": 3})
    source = save(tmp_path, {"clips": torch.zeros((3, 3, 3, 16, 16), dtype=torch.uint8), "labels": LABELS})
    with pytest.raises(ValueError, match=r"could be NCTHW or NTCHW.* say which with --layout"):
        packed(source, tmp_path, spec=spec)
    assert len(packed(source, tmp_path, spec=spec, layout="NTCHW")[0]) == 3


def test_the_decoder_flag_decides_between_clips_and_stills_with_a_class_axis(tmp_path: Path) -> None:
    # [3, 4, 16, 16, 3]: 3 clips of 4 frames, or 4 stills for each of 3 classes
    source = save(tmp_path, {"clips": clips(), "labels": torch.arange(12) // 4})
    with pytest.raises(ValueError, match=r"\[12\] labels for 3 clips"):
        packed(source, tmp_path)
    clip_set, report = packed(source, tmp_path, decoder="still")
    assert "KNHWC (detected), stored as NHWC\n" in report and "\ndecoder: still\n" in report
    assert clip_set.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 4, 32, 32, 3), {}, r"fits no layout; clips here have T=4, H=W=16, C=3, K=3.*--resize does it"),
        ((3, 4, 16, 20, 3), {"resize": True}, r"fits no layout; .*Frames are 20x16; only square ones are scaled"),
        ((3, 4, 16, 16, 3), {"layout": "NCTHW"}, "--layout NCTHW does not fit .*C is 4, must be 3"),
        ((3, 4, 16, 16, 3), {"layout": "NHWC"}, "--layout NHWC does not fit .*4 letters for 5 dimensions"),
        ((3, 4, 16, 16, 3), {"layout": "NTHWX"}, "'NTHWX' does not order the letters"),
        ((3, 4, 16, 16, 3), {"layout": "NNTHWC"}, "'NNTHWC' does not order the letters"),
        ((2, 4, 16, 16, 3), {"decoder": "still"}, "fits no layout"),
        ((3, 4, 16, 16, 4), {}, r"fits no layout; as NTHWC, C is 4, must be 3: drop an alpha channel"),
        ((3, 4, 2, 16, 16), {}, r"fits no layout; as NTCHW, C is 2, must be 3"),
        ((5, 3, 4, 16, 16, 3), {}, r"fits no layout; KNTHWC has the axis of the 3 classes first: save clips.transpose\(0, 1\)"),
        ((3, 4, 16, 16, 3), {"decoder": "jpeg"}, "--decoder 'jpeg' is not one that pack writes; allowed: pixels, still"),
        ((3, 4, 16, 16, 3), {"dtype": "int8"}, "--dtype 'int8' .*allowed: uint8, float16, float32"),
        ((3, 4, 16, 16, 3), {"value_range": "0-2"}, "--range '0-2' .*allowed: 0-255, 0-1, -1-1, imagenet"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_flag(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    source = save(tmp_path, {"clips": torch.zeros(shape, dtype=torch.uint8), "labels": LABELS})
    with pytest.raises(ValueError, match=message):
        packed(source, tmp_path, **options)
    assert all_files(tmp_path) == ["syn.pt"]


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("0-255", lambda x: x.float()),
        ("0-255", lambda x: x.to(torch.int64)),
        ("0-1", lambda x: x.double() / 255),
        ("-1-1", lambda x: x.float() / 127.5 - 1),
    ],
)
def test_every_range_is_detected_and_undone_exactly(tmp_path: Path, name: str, convert: Any) -> None:
    clip_set, report = packed(save(tmp_path, {"clips": convert(clips()), "labels": LABELS}), tmp_path)
    assert torch.equal(clip_set.clips, clips())
    assert f"taken as {name} (detected)" in report


@pytest.mark.parametrize(
    "values",
    [
        lambda x: x.float() / 200,  # 0 to 1.3: not 0-1, not 0-255
        lambda x: x.float() - 20,  # -20 to 235
        lambda x: (x.float() / 255 - 0.5) / 2,  # -0.25 to 0.25
        lambda x: x.to(torch.int64) * 3,  # 0 to 765
    ],
)
def test_a_range_that_is_not_clear_must_be_stated(tmp_path: Path, values: Any) -> None:
    source = save(tmp_path, {"clips": values(clips(8)), "labels": torch.arange(8)})
    with pytest.raises(ValueError, match=r"not clearly on one scale: `--range 0-255` gives mean .* or state your"):
        packed(source, tmp_path, spec=LARGE)


def test_a_range_to_choose_is_shown_beside_the_prepared_train_split(tiny: Store, tmp_path: Path) -> None:
    values = torch.rand(tiny.spec.num_classes, *tiny.spec.clip_shape) * 1.3
    source = save(tmp_path, {"clips": values, "labels": torch.arange(tiny.spec.num_classes)})
    with pytest.raises(ValueError, match=r"gives mean .*; the train split has mean \d+, contrast \d+\. Choose one"):
        pack(source, "tiny-ipc1", "mymethod", out=tmp_path)


def test_nan_clips_are_refused(tmp_path: Path) -> None:
    bad = clips().float()
    bad[1, 2, 3, 4, 0] = float("nan")
    with pytest.raises(ValueError, match="hold 1 NaN or infinite values in 1 clips, the first in clip 1;"):
        packed(save(tmp_path, {"clips": bad, "labels": LABELS}), tmp_path)


def test_without_labels_the_order_of_the_clips_must_be_stated(tmp_path: Path) -> None:
    source = save(tmp_path, clips(6), "images_best.pt")
    with pytest.raises(ValueError, match=r"Give `--labels FILE`, or `--labels-by-class` if .*ant, bee, cat.* 2 of each"):
        packed(source, tmp_path)
    clip_set, report = packed(source, tmp_path, labels_by_class=True, task=Task.parse("tiny-ipc5"))
    assert clip_set.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert "by class (as stated), 2 of class 0 (ant) first" in report
    report = packed(save(tmp_path, clips()), tmp_path / "three", labels_by_class=True)[1]
    assert "if these are 4 stills of each class, and not clips of 4 frames: --layout KNHWC" in report
    with pytest.raises(ValueError, match="2 are not equally many for each class"):
        packed(save(tmp_path, clips(2)), tmp_path)
    with pytest.raises(ValueError, match="--labels-by-class: 2 clips are not equally many"):
        packed(save(tmp_path, clips(2)), tmp_path, labels_by_class=True)
    save(tmp_path, LABELS, "labels_best.pt")
    with pytest.raises(ValueError, match=r"Give `--labels \S*labels_best.pt` if that file, which lies beside it"):
        packed(source, tmp_path)
    with pytest.raises(ValueError, match="leave out one of the two"):
        packed(save(tmp_path, {"clips": clips(), "labels": LABELS}), tmp_path, labels_by_class=True)


def test_soft_labels_stay_soft(tmp_path: Path) -> None:
    rows = torch.tensor([[0.25, 0.5, 0.25], [0.125, 0.125, 0.75]], dtype=torch.float64)
    clip_set, _ = packed(save(tmp_path, {"clips": clips(2), "labels": rows}), tmp_path)
    assert torch.equal(clip_set.labels, rows.float())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1, 3]), "clip 2 has label 3; allowed: 0 to 2"),
        (torch.tensor([0, 1, 256]), "clip 2 has label 256; allowed: 0 to 2"),  # 0 if it were narrowed first
        (torch.tensor([0, 1, -1]), "clip 2 has label -1"),
        (torch.tensor([0.0, 0.5, 2]), "clip 1 has label 0.5; allowed: class indices, whole numbers from 0 to 2, or a row of 3"),
        (torch.tensor([0, 1, torch.nan]), "clip 2 has label nan"),
        (["0", "1", "2"], r"labels 'labels' are numbers stored as text; save them as numbers, e.g. \[int"),
        (torch.tensor([0, 1]), r"\[2\] labels for 3 clips"),
        (torch.randn((3, 3), generator=torch.Generator().manual_seed(0)), "`--labels-as softmax` makes probabilities"),
        (torch.full((3, 2), 0.5), "allowed: 3 values for each clip"),
    ],
)
def test_labels_that_cannot_be_right_are_refused(tmp_path: Path, labels: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        packed(save(tmp_path, {"clips": clips(), "labels": labels}), tmp_path)


def test_labels_can_come_from_their_own_file(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.array([1, 2, 0]))
    clip_set, report = packed(save(tmp_path, clips()), tmp_path, labels=tmp_path / "y.npy")
    assert clip_set.labels.tolist() == [1, 2, 0]
    assert "y.npy" in report
    with pytest.raises(ValueError, match=r"lr.pt holds one number, not labels"):
        packed(save(tmp_path, clips()), tmp_path, labels=save(tmp_path, torch.tensor(0.02), "lr.pt"))


def test_other_tensors_that_could_be_labels_are_named(tmp_path: Path) -> None:
    source = save(tmp_path, {"clips": clips(), "labels": LABELS, "soft_labels": torch.eye(3), "lr": torch.tensor([0.1])})
    assert "not read: 'soft_labels' [3, 3], which could be labels, too; --labels-key chooses\n" in packed(source, tmp_path)[1]
    source = save(tmp_path, {"clips": clips(), "hard_label": torch.tensor([2, 1, 0])})
    _, report = packed(source, tmp_path, labels_by_class=True, force=True)
    assert "not read: 'hard_label' [3], which could be labels, too; --labels-key chooses\n" in report


def test_frames_become_stills(tmp_path: Path) -> None:
    frames = clips()[:, 0].permute(0, 3, 1, 2).contiguous()
    clip_set, report = packed(save(tmp_path, {"images": frames, "labels": LABELS}), tmp_path)
    assert "\ndecoder: still\n" in report
    assert torch.equal(clip_set.clips, clips()[:, :1].expand_as(clip_set.clips))


def test_npy_npz_and_safetensors_are_read_too(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(clips().numpy()))
    np.save(tmp_path / "big_endian.npy", clips().numpy().astype(">f4"))
    np.savez_compressed(tmp_path / "a.npz", clips=clips().numpy(), labels=LABELS.numpy())
    safetensors.torch.save_file({"clips": clips(), "labels": LABELS}, tmp_path / "a.safetensors", metadata={"by": "me"})
    for name in ("a.npy", "big_endian.npy", "a.npz", "a.safetensors"):
        by_class = name.endswith("npy")
        clip_set, _ = packed(tmp_path / name, tmp_path / name.replace(".", "_"), labels_by_class=by_class)
        assert torch.equal(clip_set.clips, clips()), name


@pytest.mark.parametrize(
    "extra",
    [
        np.array("2026-01-01", "datetime64[D]"),
        np.array([b"a", b"b"]),
        np.zeros(2, [("step", "i4"), ("loss", "f4")]),
        np.zeros(2, np.longdouble),
    ],
)
def test_arrays_that_torch_lacks_are_left_out(tmp_path: Path, extra: np.ndarray) -> None:
    np.savez(tmp_path / "syn.npz", clips=clips().numpy(), labels=np.arange(3), extra=extra)
    assert torch.equal(packed(tmp_path / "syn.npz", tmp_path)[0].clips, clips())


def test_parameters_that_want_gradients_are_read(tmp_path: Path) -> None:
    source = save(tmp_path, {"syn": torch.nn.Parameter(normalised(clips())), "labels": LABELS})
    assert torch.equal(packed(source, tmp_path)[0].clips, clips())


def test_of_two_candidates_one_must_be_named(tmp_path: Path) -> None:
    source = save(tmp_path, {"epoch1": clips(), "epoch2": clips(seed=1), "a_labels": LABELS, "labels": LABELS})
    with pytest.raises(ValueError, match=r"--clips-key; found: 'epoch1' \[3, 4, 16, 16, 3\], 'epoch2'"):
        packed(source, tmp_path)
    with pytest.raises(ValueError, match="--clips-key 'epoch3' is not in the file"):
        packed(source, tmp_path, clips_key="epoch3")
    clip_set, report = packed(source, tmp_path, clips_key="epoch2", labels_key="a_labels")
    assert torch.equal(clip_set.clips, clips(seed=1)) and "not read" not in report
    source = save(tmp_path, {"images": clips(seed=1), "images_init": clips(), "labels": LABELS})
    clip_set, report = packed(source, tmp_path, force=True)
    assert torch.equal(clip_set.clips, clips(seed=1)) and "\nnot read: 'images_init', which could be clips, too" in report


class Trap:
    """Runs on unpickling."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('pwned')",))


def test_a_pickle_with_code_is_refused_and_never_run(tmp_path: Path) -> None:
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Trap()))
    torch.save({"clips": clips(), "x": Trap()}, tmp_path / "new.pt")
    torch.save({"clips": clips(), "args": SimpleNamespace(lr=1)}, tmp_path / "args.pt")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for name in ("old.pt", "new.pt", "args.pt", "objects.npy"):
        with pytest.raises(ValueError, match=f"{name} could not be read as plain tensors.*Python objects.*never loaded"):
            packed(tmp_path / name, tmp_path)
    with pytest.raises(
        ValueError, match=r"needs the Python object types.SimpleNamespace.*two lines turn it into plain tensors"
    ):
        packed(tmp_path / "args.pt", tmp_path)
    assert not (tmp_path / "out").exists()


def object_files(root: Path) -> list[Path]:
    """A file of each kind with clips, labels and a Python object."""
    value = {"clips": clips().numpy(), "labels": LABELS.numpy(), "args": SimpleNamespace(lr=1)}
    save(root, value, "zip.pt")
    torch.save(value, root / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(value, root / "legacy4.pt", _use_new_zipfile_serialization=False, pickle_protocol=4)
    np.save(root / "dict.npy", np.array(value, dtype=object))
    np.savez(root / "some.npz", **{**value, "args": np.array([value["args"]])})
    for name, protocol in (("raw.pth", 4), ("raw.npy", 2), ("raw.npz", 4)):
        (root / name).write_bytes(pickle.dumps(value, protocol))
    return sorted(root.iterdir())


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the printed lines leave closing the file to Python
def test_the_two_lines_that_a_refusal_prints_make_a_file_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it's").mkdir()
    files = object_files(tmp_path / "it's")
    assert len(files) == 8
    for source in files:
        with pytest.raises(ValueError, match="two lines turn it into plain tensors") as refusal:
            packed(source.relative_to(tmp_path), tmp_path)
        lines = (
            str(refusal.value).partition("turn it into plain tensors: ")[2].partition(", with tensors or arrays of `syn`")[0]
        )
        filled = lines.replace("'clips': ...", "'clips': syn['clips']").replace("'labels': ...", "'labels': syn['labels']")
        assert filled.count("syn[") == 2
        with monkeypatch.context() as elsewhere:
            (tmp_path / source.name).mkdir()
            elsewhere.chdir(tmp_path / source.name)
            exec(filled, {"np": np, "torch": torch, "pickle": pickle})  # noqa: S102 - this test wrote the files
        clip_set, _ = packed(tmp_path / source.name / "plain.pt", tmp_path, force=True)
        assert torch.equal(clip_set.clips, clips()) and clip_set.labels.tolist() == LABELS.tolist(), source.name


@pytest.mark.parametrize("name", ["x.pt", "x.npy", "x.npz"])
@pytest.mark.parametrize("data", [b"", b"garbage", b"PK\x03\x04garbage", b"\x93NUMPY\x01\x00\x10\x00{'descr': 1}    "])
def test_a_broken_source_is_one_message(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    reason = "it is damaged or cut short, or .* did not write it" if data else "it is empty"
    with pytest.raises(ValueError, match=f"{name} could not be read as plain tensors: {reason}"):
        packed(tmp_path / name, tmp_path)


def test_a_file_of_torch_that_was_cut_short_is_not_taken_for_python_objects(tmp_path: Path) -> None:
    whole = save(tmp_path, {"clips": clips(), "labels": LABELS}).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"it is damaged or cut short, or torch\.save did not write it"):
        packed(tmp_path / "cut.pt", tmp_path)


def test_a_file_of_torch_with_one_changed_byte_is_refused(tmp_path: Path) -> None:
    source = save(tmp_path, {"clips": clips(), "labels": LABELS})
    content = bytearray(source.read_bytes())
    content[content.index(clips()[0, 0, 0].numpy().tobytes())] ^= 1
    source.write_bytes(content)
    with pytest.raises(ValueError, match=r"syn.pt could not be read as plain tensors: it is damaged.* copy it again"):
        packed(source, tmp_path)


def test_an_npz_whose_array_claims_a_terabyte_is_refused(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("clips.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"data")
    with pytest.raises(ValueError, match=r"huge.npz could not be read as plain tensors"):
        packed(tmp_path / "huge.npz", tmp_path)


def test_a_missing_or_foreign_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*syn.pt; give a .pt"):
        packed(tmp_path / "syn.pt", tmp_path)
    (tmp_path / "syn.mat").write_bytes(b"")
    with pytest.raises(ValueError, match=r"'.mat' are not read; allowed: .pt, .pth, .npy, .npz, .safetensors"):
        packed(tmp_path / "syn.mat", tmp_path)


def test_an_archive_and_a_pickle_are_refused_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"a.zip is an archive: unpack it; folders of clips are read"):
        packed(tmp_path / "a.zip", tmp_path)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"a.pkl could not .* syn = pickle.load\(open\("):
        packed(tmp_path / "a.pkl", tmp_path)


def test_what_the_author_declares_is_in_the_manifest(tmp_path: Path) -> None:
    declaration = Declaration(
        seed=3, authors=("A", "B"), code="https://example.org", external_data="a teacher", holdout=True, learned_lr=0.02
    )
    source = save(tmp_path, {"clips": clips(), "labels": LABELS})
    save(tmp_path, torch.tensor(0.02), "lr.pt")
    assert "lr.pt; if it holds a learning rate for the student: --learned-lr keeps it" in packed(source, tmp_path)[1]
    path, report = pack(str(source), str(TASK), "mine", declaration=declaration, out=str(tmp_path / "out"), spec=SPEC)
    assert any(line.startswith("learned_lr: 0.02, kept in the manifest") for line in report)
    manifest = submission.read(path, SPEC).manifest
    assert path.name == "mine-s3"
    stated = {name: value for name, value in vars(declaration).items() if name != "learned_lr"}
    assert {name: getattr(manifest, name) for name in stated} == stated and manifest.config == {"learned_lr": 0.02}
    with pytest.raises(ValueError, match=r"--paper 'mine.pdf' is not a link; allowed: https://"):
        pack(source, TASK, "mine", declaration=Declaration(paper="mine.pdf"), out=tmp_path / "out", spec=SPEC)


def test_packing_again_changes_nothing_and_another_source_needs_force(tmp_path: Path) -> None:
    source = save(tmp_path, {"clips": clips(), "labels": LABELS})
    packed(source, tmp_path)
    packed(source, tmp_path)
    source = save(tmp_path, {"clips": clips(seed=2), "labels": LABELS})
    with pytest.raises(ValueError, match="holds another submission"):
        packed(source, tmp_path)
    assert torch.equal(packed(source, tmp_path, force=True)[0].clips, clips(seed=2))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("random", "is the name of a bundled baseline"),
        ("dm_fast", "is the name of a bundled baseline"),
        ("random_video_tenth", "is the name of a bundled baseline"),
        ("random_video_x", "is a name of the codec curve"),
        ("rand0m", "looks like the bundled baseline 'random'"),
        ("random_s1", "looks like the bundled baseline 'random'"),
        ("random_frozen", "is the name of a row of `evaluate --frames frozen`"),
        ("mine_shuffled", "is the name of a row of `evaluate --frames shuffled`"),
    ],
)
def test_names_that_tables_use_for_something_else_are_refused(name: str, reason: str, tmp_path: Path) -> None:
    """Tables compare others with `random` and `full`; the board refuses the same names."""
    source = save(tmp_path, {"clips": torch.zeros((3, 4, 16, 16, 3), dtype=torch.uint8), "labels": LABELS})
    with pytest.raises(ValueError, match=f"--method: '{name}' {reason}"):
        pack(source, TASK, name, out=tmp_path)
    assert all_files(tmp_path) == ["syn.pt"]


def test_a_name_of_a_method_that_cannot_be_a_folder_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--method 'My Method' cannot name a folder; allowed: .* letters a-z, digits, _"):
        pack(tmp_path / "not there.pt", TASK, "My Method", out=tmp_path)
