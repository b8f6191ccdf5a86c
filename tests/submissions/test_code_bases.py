"""`pack` reads what other code bases save: one file of each, written here in their form (docs/packing.md)."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders.submissions import clips
from tests.submissions.test_importing import FIVE, SPEC8, packed
from vddbench.spec import IMAGENET_MEAN, IMAGENET_STD, Task
from vddbench.submissions import ranges

REAL = clips(8)
LABELS = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
BY_CLASS = torch.arange(8)
CENTRED = (torch.eye(8)[LABELS] - 1 / 8) / math.sqrt(8 / 10)
SOFT = torch.full((8, 8), 0.05).scatter_(1, LABELS[:, None], 0.65)
Source = tuple[Path, dict[str, Any]]  # the file, and the options of `pack`


def normalised(values: torch.Tensor = REAL) -> torch.Tensor:
    """[N, T, H, W, 3] on the 0-255 scale -> [N, T, 3, H, W] after ImageNet's mean and standard deviation."""
    return ((values.float() / 255 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)).movedim(-1, 2).contiguous()


def saved(value: object, path: Path) -> Path:
    torch.save(value, path)
    return path


def sdd_pixels(root: Path) -> Source:
    return saved(normalised(), root / "images_best.pt"), {"labels_by_class": True}


def mtt(root: Path) -> Source:
    return saved(normalised(), root / "images_best.pt"), {"labels": saved(LABELS, root / "labels_best.pt")}


def dc(root: Path) -> Source:
    """Accuracies are NumPy numbers, and repetitions that are not chosen do not count against the limit of bytes."""
    data = [[normalised().roll(n, 0), LABELS.roll(n)] for n in range(8)]
    file = {"data": data, "accs_all_exps": {"ConvNet3D": [np.float64(0.5)] * 3}}
    return saved(file, root / "res_DM_tiny_ConvNet3D_1ipc.pt"), {"clips_key": "data.0.0"}


def idc(root: Path) -> Source:
    return saved((REAL.movedim(-1, 2) / 255, LABELS), root / "data.pt"), {}


def frepo(root: Path) -> Source:
    np.savez(root / "frepo.npz", image=normalised().movedim(2, -1).numpy(), label=CENTRED.numpy())
    return root / "frepo.npz", {}


def lite_vd(root: Path) -> Source:
    names = list(reversed(SPEC8.class_names))
    file = {"format": "pixelspace_distill_artifact_v1", "images": normalised(), "labels": 7 - LABELS, "class_names": names}
    return saved(file, root / "synthetic_data.pt"), {}


def dd_ranking(root: Path) -> Source:
    saved(torch.tensor(0.02), root / "lr.pt")
    return saved(normalised(), root / "images.pt"), {"labels": saved(SOFT, root / "labels.pt")}


def nested(root: Path) -> Source:
    return saved({"syn": {"best": [{"data": [normalised(), LABELS]}]}}, root / "nested.pt"), {}


@pytest.mark.parametrize(
    ("write", "name", "labels"),
    [
        (sdd_pixels, "one tensor, as SDD saves clips of DM and MTT", BY_CLASS),
        (mtt, "clips and labels in two files, as MTT, TESLA, DATM and DD-Ranking", LABELS),
        (dc, "as DC, DSA, DM and CAFE save it; repetitions in the file: 8", LABELS),
        (idc, "as IDC saves it. Grids of smaller clips (IDC's factor) are not split", LABELS),
        (frepo, "as FRePo saves them", LABELS),
        (lite_vd, "'pixelspace_distill_artifact_v1', as Lite-VD saves it", LABELS),
        (dd_ranking, "clips and labels in two files", SOFT),
        (nested, "code base: not recognised; the clips are the tensor 'syn.best.0.data.0'", LABELS),
    ],
)
def test_clips_and_labels_of_each_code_base_come_back(
    write: Callable[[Path], Source], name: str, labels: torch.Tensor, tmp_path: Path
) -> None:
    source, options = write(tmp_path)
    clip_set, report = packed(source, tmp_path, task=FIVE, **options)
    assert torch.equal(clip_set.clips, REAL) and torch.equal(clip_set.labels, labels)
    lines = report.splitlines()
    assert any(line.startswith(("recognised: ", "code base: ")) and name in line for line in lines)
    scale = "0-1" if write is idc else "imagenet"
    assert any(line.startswith("values: ") and line.endswith(f"taken as {scale} (detected)") for line in lines)
    assert "\nlabels: " in report and "outside 0-255: 0.00% of the values, none is clipped" in report
    if options:
        with pytest.raises(
            ValueError, match=r"holds no labels .*--labels|holds 8 repetitions .*`--clips-key data.0.0` packs the first"
        ):
            packed(source, tmp_path, task=FIVE)


@pytest.mark.parametrize("scale", [1, 1.3])  # 1.3: values leave 0-255, so a scale and an offset are stored, too
def test_soft_labels_fit_at_their_own_ipc_without_the_last_frame_or_as_classes(scale: float, tmp_path: Path) -> None:
    """The budget of ipc 1 has 8 bytes for the label of a clip; 8 probabilities take 16 or 32."""
    task = Task.parse("tiny-ipc1")
    source = saved(normalised() * scale, tmp_path / "images.pt")
    for soft in (SOFT, SOFT.half()):
        options = {"labels": saved(soft, tmp_path / "labels.pt"), "task": task, "spec": SPEC8, "value_range": "imagenet"}
        with pytest.raises(ValueError, match=r"has 8 bytes for .* label.*these probabilities take (16|32)") as refusal:
            packed(source, tmp_path, **options)
        assert "`pack --drop-last-frame` stores T - 1 frames" in str(refusal.value)
        assert "`pack --labels-as argmax` keeps only each clip's class" in str(refusal.value)
        clip_set, report = packed(source, tmp_path, drop_last_frame=True, **options)
        torch.testing.assert_close(clip_set.labels, SOFT, atol=1e-3, rtol=0)
        full = packed(source, tmp_path, labels_as="argmax", **options)[0]
        torch.testing.assert_close(clip_set.clips[:, :3].float(), full.clips[:, :3].float(), atol=1.5, rtol=0)
        assert torch.equal(clip_set.clips[:, 3], clip_set.clips[:, 2]) and "the first 3 of each clip" in report
        assert "\ndecoder: keyframes\n" in report and "decoder pixels" not in report
        assert torch.equal(full.labels, LABELS) and (scale != 1 or torch.equal(full.clips, REAL))


def test_a_dropped_frame_is_offered_only_where_it_makes_enough_room(tmp_path: Path) -> None:
    many = SPEC8.model_copy(update={"class_names": tuple(f"c{n:03}" for n in range(200)), "frames": 4, "size": 8})
    rows = torch.full((200, 200), 0.1 / 199).fill_diagonal_(0.9)
    file = {"clips": torch.zeros((200, 4, 8, 8, 3), dtype=torch.uint8), "labels": rows}
    with pytest.raises(ValueError, match=r"these probabilities take 800\. `pack --labels-as argmax`"):
        packed(file, tmp_path, task=Task.parse("tiny-ipc1"), spec=many)
    with pytest.raises(ValueError, match=r"--drop-last-frame is for clips; these are stills"):
        packed({"clips": clips()[:, 0], "labels": [0, 1, 2]}, tmp_path, drop_last_frame=True)


@pytest.mark.parametrize(
    ("file", "name", "message"),
    [
        ({"cores": torch.ones(8, 4, 2, 2, 2), "factors": [torch.ones(4, 4)] * 3}, "lvdd.pt", "LVDD does not save labels"),
        ({"format": "latentspace_v1", "data": torch.ones(8, 16, 1, 2, 2)}, "x.pt", "holds latents .*--external"),
        (torch.ones(8, 16, 1, 2, 2), "x.pt", "fits no layout; .*Latents must be decoded to pixels first"),
        (normalised(), "images_zca.pt", "holds ZCA-whitened clips.*the matrix that undoes it is not in the file"),
        (torch.ones(3, 4, 3, 3, 3), "hal_100.pt", "the network of a static-dynamic set: pack the motions"),
        (torch.ones(16, 4, 1, 16, 16), "dynamic_best.pt", "motions of a static-dynamic set: add --statics FILE --hallucinator"),
        ({"image": normalised()[:, 0]}, "sta.pt", "Stills of a static-dynamic set: pack its motions"),
        ({c: normalised()[:1] for c in "abcdefgh"}, "x.pt", "the dataset has 8 classes: one tensor per class. .* join them"),
        ({c: normalised()[:1] for c in "abcdef"}, "x.pt", "If each of them holds the clips of one class, join them"),
        ([[normalised()[:1]] for _ in range(8)], "x.pt", "one tensor per class. .*torch.cat.*--labels-by-class if all"),
        ([[normalised()[:1]] for _ in range(6)], "x.pt", "which tensor holds the clips. .*the clips of one class, join them"),
        ({"images": torch.rand(8, 8, 3, 16, 16), "labels": LABELS}, "x.pt", "^the clips have 8 frames instead of 4, or: "),
        (torch.tensor(0.01), "lr.pt", "no tensor has the 4 to 6 dimensions of clips.*found: a tensor without a name"),
        ({"data": [[normalised()[:1]] for _ in range(8)]}, "x.pt", "one tensor per class. .*--labels-by-class if all"),
        ({"images": torch.rand(8, 4, 3, 32, 32), "labels": LABELS}, "x.pt", "--resize does it, bilinear"),
        ({"images": clips(10), "labels": torch.arange(10)}, "x.pt", "label 8; allowed: 0 to 7.* 8 classes: is --task right"),
        ({"images": clips(8), "labels": torch.rand(8, 10)}, "x.pt", "allowed: 8 values .* has 8 classes: is --task right"),
    ],
)  # fmt: skip
def test_what_holds_no_clips_is_refused_with_the_reason(file: object, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        packed(saved(file, tmp_path / name), tmp_path, task=FIVE)


def test_tensors_of_each_class_are_packed_when_they_are_joined(tmp_path: Path) -> None:
    lists = [[normalised()[label : label + 1]] for label in range(8)]
    joined = torch.cat([item[0] for item in lists])
    assert torch.equal(packed(joined, tmp_path, task=FIVE, labels_by_class=True)[0].clips, REAL)
    report = packed(lists, tmp_path, task=FIVE, clips_key="3.0", labels=saved(torch.tensor([3]), tmp_path / "y.pt"))[1]
    assert "repetitions" not in report


@pytest.mark.parametrize("label", [int, torch.tensor, np.int64, "abcdefgh".__getitem__])
def test_a_list_of_clips_with_their_labels_is_read(label: Callable[[int], object], tmp_path: Path) -> None:
    stills = REAL[:, :1].expand_as(REAL)
    for items, due in ((normalised(), REAL), (normalised().numpy(), REAL), (normalised()[:, 0], stills)):
        pairs = [(clip, label(int(index))) for clip, index in zip(items, LABELS, strict=True)]
        clip_set, report = packed({"syn": pairs}, tmp_path, task=FIVE)
        assert "the clips are the tensor 'syn.pairs (clip, class).clips'" in report
        assert torch.equal(clip_set.clips, due) and torch.equal(clip_set.labels, LABELS)


@pytest.mark.parametrize("labels", [LABELS, LABELS.tolist(), SOFT.half()])
def test_labels_of_several_sets_in_a_list_go_with_the_clips_of_the_same_number(labels: Any, tmp_path: Path) -> None:
    """A list of equally many labels would otherwise become one tensor, of which no option names a part."""
    other = labels.flip(0) if isinstance(labels, torch.Tensor) else labels[::-1]
    file = {"image_syn": [normalised().flip(0), normalised()], "label_syn": [other, labels]}
    for options in ({}, {"labels_key": "label_syn.1"}):
        clip_set, report = packed(file, tmp_path, task=FIVE, clips_key="image_syn.1", drop_last_frame=True, **options)
        assert "labels: beside the clips tensor 'label_syn.1' [8" in report
        torch.testing.assert_close(clip_set.labels, torch.as_tensor(labels), atol=1e-3, rtol=0, check_dtype=False)
    swapped = packed(file, tmp_path, task=FIVE, clips_key="image_syn.1", labels_key="label_syn.0", drop_last_frame=True)[0]
    torch.testing.assert_close(swapped.labels, torch.as_tensor(other), atol=1e-3, rtol=0, check_dtype=False)


def test_what_is_wrong_with_clips_and_labels_is_said_at_once(tmp_path: Path) -> None:
    for values, problem in ((torch.rand(10, 4, 3, 32, 32), "fits no layout"), (clips(10) / 200, "not clearly on one scale")):
        for labels in (torch.arange(10), torch.rand(10, 10)):
            with pytest.raises(ValueError, match=rf"{problem}.*\n.*The dataset has 8 classes: is --task right"):
                packed({"images": values, "labels": labels}, tmp_path, task=FIVE)


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.3])
def test_learned_labels_of_frepo_are_never_sent_to_a_softmax(noise: float, tmp_path: Path) -> None:
    """A softmax of centred labels is nearly uniform; with much noise their rows do not sum to 0 any more."""
    generator = torch.Generator().manual_seed(0)
    learned = CENTRED + torch.randn((8, 8), generator=generator) * noise
    np.savez(tmp_path / "frepo.npz", image=normalised().movedim(2, -1).numpy(), label=learned.numpy())
    y_syn = {"labels": saved(learned, tmp_path / "y_syn_400.pt")}
    for source, options in ((tmp_path / "frepo.npz", {}), (saved(normalised(), tmp_path / "x_syn_400.pt"), y_syn)):
        with pytest.raises(ValueError, match=r"look centred.*`--labels-as centred` undoes") as refusal:
            packed(source, tmp_path, task=FIVE, **options)
        assert "--labels-as softmax" not in str(refusal.value)
        soft = packed(source, tmp_path, task=FIVE, labels_as="centred", **options)[0].labels
        assert torch.equal(soft.argmax(1), learned.argmax(1)) and float(soft.max(1).values.mean()) > 0.4


def test_clips_of_a_file_named_zca_are_read_in_a_stated_range(tmp_path: Path) -> None:
    source = saved({"images": normalised(), "labels": LABELS}, tmp_path / "no_zca.pt")
    assert torch.equal(packed(source, tmp_path, task=FIVE)[0].clips, REAL)
    source = source.rename(tmp_path / "zca.pt")
    assert torch.equal(packed(source, tmp_path, task=FIVE, value_range="imagenet")[0].clips, REAL)


@pytest.mark.parametrize(
    ("per_class", "has_labels", "per_slot"),
    [(2, False, 2), (6, False, 2), (2, True, 1), (3, True, 1)],  # SDD at ipc 1 and 3; its FRePo version at ipc 2 and 3
)
def test_a_static_dynamic_set_decodes_to_what_its_network_gives(
    per_class: int, has_labels: bool, per_slot: int, tmp_path: Path
) -> None:
    generator, count = torch.Generator().manual_seed(0), 8 * per_class
    still = torch.randn((count, 3, 16, 16), generator=generator)
    motion = torch.randn((count, 4, 1, 16, 16), generator=generator) * 0.3
    weight, bias = torch.randn((3, 4, 3, 3, 3), generator=generator) * 0.1, torch.randn(3, generator=generator) * 0.1
    dynamics = saved(motion.unflatten(0, (8, per_class)) if has_labels else motion, tmp_path / "dynamic_best.pt")
    options = {
        "statics": saved({"image": still}, tmp_path / "sta.pt"),
        "hallucinator": saved(OrderedDict({"0.encoder.weight": weight, "0.encoder.bias": bias}), tmp_path / "weights_best.pt"),
    }
    labels = BY_CLASS.repeat_interleave(per_class)
    if has_labels:
        with pytest.raises(ValueError, match=r"as FRePo saves motions, needs --labels y_syn_N.pt"):
            packed(dynamics, tmp_path, task=FIVE, **options)
        labels = labels.flip(0)
        options["labels"] = saved((torch.eye(8)[labels] - 1 / 8) / math.sqrt(8 / 10), tmp_path / "y_syn_400.pt")
    clip_set, report = packed(dynamics, tmp_path, task=Task.parse("tiny-ipc10"), spec=SPEC8, **options)
    assert clip_set.labels.tolist() == labels.repeat_interleave(per_slot).tolist()
    assert f"clips of a slot, stills x motions: {per_slot} x {per_slot} = {per_slot**2}\n" in report
    assert "recognised: static-dynamic set, kept as stills, motions and hallucinator" in report
    assert f"\nmotions: {motion.min():.4g} to {motion.max():.4g}, stored as uint8 in 256 steps of " in report
    stated = re.search(r"decoded clips of \d+ slots: error of .* at most ([0-9.]+), mean ([0-9.]+) of 255", report)
    # the pair of the second still and the first motion of the last slot
    last, chosen = count - per_slot, count - 1
    x = torch.cat([still[chosen][:, None].expand(-1, 4, -1, -1), motion[last].movedim(1, 0)])[None]
    due = torch.nn.functional.conv3d(x, weight, bias, padding=1)[0].movedim(0, -1)
    decoded = clip_set.clips[len(clip_set) - per_slot]
    error = (decoded - ranges.READINGS["imagenet"].to_255(due)).abs()
    assert stated and float(error.mean()) < 1 and abs(float(error.mean()) - float(stated[2])) < 0.1


def test_stills_of_a_static_dynamic_set_are_in_the_units_of_its_network(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    motions = saved(torch.randn((8, 4, 1, 16, 16), generator=generator), tmp_path / "dynamic_best.pt")
    network = {"0.encoder.weight": torch.full((3, 4, 3, 3, 3), 0.01), "0.encoder.bias": torch.zeros(3)}
    options = {"hallucinator": saved(network, tmp_path / "weights_best.pt")}
    low = torch.rand((8, 3, 16, 16), generator=generator) * 2.4 - 1.2  # could be -1-1 or imagenet
    options["statics"] = saved({"image": low}, tmp_path / "sta.pt")
    assert "taken as imagenet" in packed(motions, tmp_path, task=FIVE, **options)[1]
    with pytest.raises(ValueError, match=r"--range -1-1: the stills .*leave out --range"):
        packed(motions, tmp_path, task=FIVE, value_range="-1-1", **options)
    options["statics"] = saved({"image": low.abs() * 200}, tmp_path / "sta.pt")
    with pytest.raises(ValueError, match=r"stills from .* are not normalised with ImageNet's"):
        packed(motions, tmp_path, task=FIVE, **options)


def test_a_range_that_is_not_clear_is_refused_with_the_usual_one_of_the_code_base(tmp_path: Path) -> None:
    grey = normalised(REAL // 4 + 96) * 0.9
    with pytest.raises(ValueError, match=r"recognised: one tensor, as SDD .*; usual there is --range imagenet"):
        packed(saved(grey, tmp_path / "images_best.pt"), tmp_path, task=FIVE, labels_by_class=True)
    with pytest.raises(ValueError, match=r"state your code's normalisation: --range [A-Z,/]+$"):
        packed(saved({"mine": grey, "labels": LABELS}, tmp_path / "a.pt"), tmp_path, task=FIVE)
    with pytest.raises(ValueError, match=r"state your code's normalisation: --range [A-Z,/]+$"):  # IDC's 0-1 is not possible
        packed(saved((grey, LABELS), tmp_path / "data.pt"), tmp_path, task=FIVE)


def test_a_stated_range_that_leaves_many_values_outside_is_warned_of(tmp_path: Path) -> None:
    pair = saved((normalised(REAL // 2 + 64), LABELS), tmp_path / "data.pt")
    report = packed(pair, tmp_path, task=FIVE, value_range="0-1")[1]
    assert re.search(
        r"\nwarning: \d\d% OF THE VALUES LIE OUTSIDE 0-255 in the stated range 0-1; .* --range imagenet \(0%", report
    )
    assert "OUTSIDE 0-255" not in packed(pair, tmp_path, task=FIVE, value_range="imagenet")[1]


def test_a_file_of_several_stills_gets_no_advice_that_static_dynamic_sets_refuse(tmp_path: Path) -> None:
    motions = saved(torch.rand(16, 4, 1, 16, 16), tmp_path / "dynamic_best.pt")
    several = saved({"a": torch.rand(8, 3, 16, 16), "b": torch.rand(8, 3, 16, 16)}, tmp_path / "images_best.pt")
    with pytest.raises(ValueError, match=r"which tensor is meant\? Save only the stills or motions there; found: 'a'"):
        packed(motions, tmp_path, task=FIVE, statics=several, hallucinator=several)


def test_static_dynamic_files_in_the_wrong_place_are_refused(tmp_path: Path) -> None:
    dynamics = saved(torch.ones(16, 4, 1, 16, 16), tmp_path / "dynamic_best.pt")
    statics = saved({"image": torch.ones(16, 3, 16, 16)}, tmp_path / "sta.pt")
    two = saved({f"{i}.encoder.weight": torch.ones(3, 4, 3, 3, 3) for i in range(2)}, tmp_path / "hal.pt")
    with pytest.raises(ValueError, match="needs three files: pack DYNAMICS --statics FILE --hallucinator FILE"):
        packed(dynamics, tmp_path, task=FIVE, decoder="static_dynamic")
    with pytest.raises(
        ValueError, match=r"sta.pt holds tensor 'image' \[16, 3, 16, 16\] float32; allowed: floats \[n\*8, 4, 1, 16"
    ):
        packed(statics, tmp_path, task=FIVE, statics=dynamics, hallucinator=two)
    unnamed = saved(torch.ones(16, 3, 16, 16), tmp_path / "unnamed.pt")
    with pytest.raises(ValueError, match=r"unnamed.pt holds tensor \[16, 3, 16, 16\] float32; allowed"):
        packed(unnamed, tmp_path, task=FIVE, statics=dynamics, hallucinator=two)
    with pytest.raises(ValueError, match=r"holds no single convolution .*one hallucinator for all classes"):
        packed(dynamics, tmp_path, task=FIVE, statics=statics, hallucinator=two)
