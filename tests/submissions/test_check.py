"""`check` measures what a submission holds and lists every reason for refusal, not only the first."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders.submissions import BUDGET_BYTES, LABELS, SPEC, clips, edit_manifest, pixel_tensors, rewrite_payload, written
from vddbench.submissions import payload
from vddbench.submissions.check import check
from vddbench.submissions.decoders import jpeg
from vddbench.submissions.manifest import DATA
from vddbench.submissions.report import Report
from vddbench.system.files import sha256_file


def checked(root: Path, tensors: Mapping[str, torch.Tensor], **fields: Any) -> Report:
    return check(written(root, tensors, **fields), SPEC)


def test_a_full_budget_is_accepted_and_every_number_is_measured(tmp_path: Path) -> None:
    report = checked(tmp_path, pixel_tensors())
    assert report.accepted
    assert check(str(report.path), SPEC) == report
    assert report.warnings == ()
    assert report.payload_bytes == report.budget_bytes == BUDGET_BYTES
    assert report.fp32_mib == pytest.approx((3 * 4 * 16 * 16 * 3 + 3) * 4 / 2**20)
    assert report.contents is not None
    assert report.contents.per_class == report.contents.distinct_per_class == (1, 1, 1)
    assert (report.contents.low, report.contents.high) == (0, 255)
    text = str(report)
    for part in (
        "clips",
        "3 x 4 x 16 x 16 x 3",
        "uint8",
        "9,216",
        "99.7%",
        "9,240 bytes, 100.00% used",
        "3,080 bytes",
        "ipc and open",
        "accepted",
    ):
        assert part in text


def test_a_set_of_more_clips_than_ipc_is_in_the_open_division_only(tmp_path: Path) -> None:
    stills = {"frames": clips(6)[:, 0], "labels": LABELS.repeat(2)}
    report = checked(tmp_path, stills, decoder="still")
    assert report.accepted and report.divisions == ("open",) and "open (ipc allows 1 per class)" in str(report)
    assert checked(tmp_path / "full", stills, decoder="still", task="tiny-full").divisions == ()


def test_compressible_clips_have_a_small_zstd_size(tmp_path: Path) -> None:
    flat = {"clips": torch.zeros((3, *SPEC.clip_shape), dtype=torch.uint8), "labels": LABELS}
    report = checked(tmp_path, flat)
    assert report.zstd_bytes is not None
    assert report.zstd_bytes < BUDGET_BYTES / 10


def test_an_absent_class_copies_and_constant_clips_are_accepted_with_warnings(tmp_path: Path) -> None:
    frames = clips()
    frames[1] = frames[0]
    frames[2] = 7
    report = checked(tmp_path, {"clips": frames, "labels": torch.tensor([0, 0, 1])})
    assert report.accepted
    assert report.contents is not None
    assert report.contents.per_class == (2, 1, 0)
    assert report.contents.distinct_per_class == (1, 1, 0)
    text = "\n".join(report.warnings)
    assert "no clip of 1 class: cat" in text
    assert "1 clips are copies of another one" in text
    assert "1 clips hold one single value" in text
    assert "2 (1 distinct) in 1 classes" in str(report)


def test_normalised_clips_give_a_warning(tmp_path: Path) -> None:
    frames = torch.rand((1, *SPEC.clip_shape), generator=torch.Generator().manual_seed(0)).half()
    report = checked(tmp_path, {"clips": frames, "labels": LABELS[:1]})
    assert any("look normalised; clips are stored on the 0-255 scale" in warning for warning in report.warnings)


def test_values_far_outside_0_255_are_refused(tmp_path: Path) -> None:
    frames = clips(1).half()
    folder = checked(tmp_path, {"clips": frames * 6, "labels": LABELS[:1]}).path  # 0 to 1530
    assert check(folder, SPEC).accepted
    rewrite_payload(folder, {"clips": frames * 7, "labels": LABELS[:1]})
    edit_manifest(folder, sha256=sha256_file(folder / DATA))
    assert any("from 0 to 1785, far outside 0-255; allowed: -1275 to 1530" in reason for reason in check(folder, SPEC).reasons)


def test_one_clip_under_several_hard_labels_is_refused_unless_it_is_blank(tmp_path: Path) -> None:
    same = clips(1).expand(3, -1, -1, -1, -1)
    with pytest.raises(ValueError, match=r"clips 0 and 1 are identical, with the labels 0 and 1: .* store it once"):
        written(tmp_path, {"clips": same, "labels": LABELS})
    assert checked(tmp_path, {"clips": same, "labels": torch.tensor([1, 1, 1])}).accepted
    assert checked(tmp_path / "blank", {"clips": torch.zeros_like(same), "labels": LABELS}).accepted
    assert checked(tmp_path / "full", {"clips": same, "labels": LABELS}, task="tiny-full").accepted


def test_soft_labels_count_for_their_likeliest_class(tmp_path: Path) -> None:
    rows = torch.tensor([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    report = checked(tmp_path, {"clips": clips(2), "labels": rows})
    assert report.contents is not None
    assert report.contents.per_class == (0, 2, 0)
    assert "soft labels" in str(report)


def test_compressed_clips_are_counted_as_a_student_sees_them(tmp_path: Path) -> None:
    tensors = {**jpeg.encode(clips(5), quality=5), "labels": torch.tensor([0, 1, 2, 0, 1])}
    report = checked(tmp_path, tensors, decoder="jpeg")
    assert report.contents is not None
    assert report.contents.num_distinct == 5


def test_every_reason_for_refusal_is_listed_at_once_in_the_order_of_the_checks(tmp_path: Path) -> None:
    folder = written(tmp_path)
    bad = {"clips": clips(4).float() * float("nan"), "labels": torch.tensor([0.0, 1, 2, 0]), "note": torch.zeros(2)}
    rewrite_payload(folder, bad)
    edit_manifest(folder, method="other")
    report = check(folder, SPEC)
    assert not report.accepted
    text = str(report)
    parts = (
        "must lie in tiny-ipc1/other",
        "over the budget of tiny-ipc1",
        "the payload was changed or damaged",
        "tensor 'note' is unknown to this decoder",
        "tensor 'clips' holds nan (first in row 0)",
    )
    assert "reason 5:" in text and "refused" in text
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert "accepted" not in text


def test_a_broken_manifest_does_not_hide_a_broken_payload(tmp_path: Path) -> None:
    folder = written(tmp_path)
    edit_manifest(folder, seed=-1, surprise=1)
    whole = (folder / DATA).read_bytes()
    (folder / DATA).write_bytes(whole[:-1])
    reasons = "\n".join(check(folder, SPEC).reasons)
    assert "field 'seed'" in reasons
    assert "no field named 'surprise'" in reasons
    assert "is truncated" in reasons


def test_a_payload_far_over_budget_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path)
    rewrite_payload(folder, {"clips": clips(400), "labels": torch.arange(400) % 3})
    monkeypatch.setattr(payload, "load", lambda path: pytest.fail("read"))
    report = check(folder, SPEC)
    assert any("over the budget" in reason for reason in report.reasons)
    assert any("too far over budget to be hashed and decoded" in warning for warning in report.warnings)


def test_a_missing_payload_and_an_unknown_dataset_are_two_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "home"))
    folder = written(tmp_path)
    (folder / DATA).unlink()
    reasons = check(folder).reasons
    assert any("no dataset named 'tiny'" in reason and "vddbench prepare tiny" in reason for reason in reasons)
    assert any("has no data.safetensors" in reason for reason in reasons)


def test_an_unbudgeted_submission_has_no_share(tmp_path: Path) -> None:
    report = checked(tmp_path, {"clips": clips(9), "labels": torch.arange(9) % 3}, task="tiny-full")
    assert report.accepted
    assert "none: the unbudgeted reference" in str(report)


def test_names_in_a_strangers_file_cannot_write_markup_or_escapes(tmp_path: Path) -> None:
    folder = written(tmp_path)
    bad = {"[bold red]accepted[/]\x1b[31m": torch.zeros(2), **pixel_tensors()}
    rewrite_payload(folder, bad)
    text = str(check(folder, SPEC))
    assert "\x1b" not in text
    assert "[bold red]accepted[/]" in text
    assert "refused" in text


@pytest.mark.parametrize("field", ["shape", "data_offsets", "dtype"])
def test_a_header_that_holds_escapes_is_shown_without_them(tmp_path: Path, field: str) -> None:
    folder = written(tmp_path)
    entry = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1], field: "\x1b]0;owned\x07\u202e"}
    text = json.dumps({"a": entry}).encode()
    (folder / DATA).write_bytes(struct.pack("<Q", len(text)) + text + b"0")
    report = check(folder, SPEC)
    assert any("owned" in reason and reason.split("owned")[1].isprintable() for reason in report.reasons)
    assert not {"\x1b", "\x07", "\u202e"} & set(str(report))


def test_a_header_of_lists_in_lists_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    for depth in range(100, 1000, 50):
        text = b'{"a":{"dtype":"U8","shape":' + b"[" * depth + b"]" * depth + b',"data_offsets":[0,1]}}'
        (folder / DATA).write_bytes(struct.pack("<Q", len(text)) + text + b"0")
        assert not check(folder, SPEC).accepted


def test_a_missing_folder_is_an_error_and_not_a_report(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no submission at"):
        check(tmp_path / "nothing", SPEC)
