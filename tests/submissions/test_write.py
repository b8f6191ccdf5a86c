"""A submission is written whole or not at all, and never replaces another one unless forced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders.full_disk import FullDisk
from tests.builders.submissions import LABELS, SPEC, all_files, clips, written
from vddbench.spec import Manifest
from vddbench.submissions import submission
from vddbench.submissions.manifest import DATA, MANIFEST, read_manifest
from vddbench.submissions.write import same_bytes


def test_writing_the_same_again_changes_nothing(tmp_path: Path) -> None:
    folder = written(tmp_path, distill_seconds=1.5)
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}
    written(tmp_path, distill_seconds=2.5)
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()} == before


@pytest.mark.parametrize("change", [{"config": {"lr": 1}}, {"decoder": "pixels", "code": "https://example.org"}])
def test_another_submission_in_the_folder_is_kept_unless_forced(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = written(tmp_path)
    with pytest.raises(ValueError, match="holds another submission; use another method name or distillation seed"):
        written(tmp_path, **change)
    assert submission.read(folder, SPEC).manifest.config == {}
    written(tmp_path, {"clips": clips(seed=9), "labels": LABELS}, **change, force=True)
    assert torch.equal(submission.read(folder, SPEC).tensors["clips"], clips(seed=9))


def test_the_same_submission_is_recognised_in_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = written(Path("submissions"))
    before = (first / MANIFEST).stat().st_mtime_ns
    assert written(Path("submissions")) == first
    assert (first / MANIFEST).stat().st_mtime_ns == before


def test_a_damaged_submission_is_not_taken_for_the_same(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / DATA).write_bytes(b"")
    with pytest.raises(ValueError, match="holds another submission"):
        written(tmp_path)


@pytest.mark.parametrize("bad", [{}, {"clips": clips()}, {"clips": clips(2), "labels": LABELS}])
def test_refused_tensors_leave_nothing_behind(tmp_path: Path, bad: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="tensor"):
        written(tmp_path, bad)
    assert list(tmp_path.iterdir()) == []


def test_a_method_name_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"field 'method': .*found '\.\./x'"):
        written(tmp_path, method="../x")
    assert list(tmp_path.iterdir()) == []


def test_equal_bytes_under_another_seed_of_the_method_are_named(tmp_path: Path) -> None:
    other = {"clips": clips(seed=9), "labels": LABELS}
    for tensors, fields in ((None, {}), (other, {"seed": 1}), (None, {"seed": 3}), (None, {"method": "mine_too", "seed": 4})):
        path = written(tmp_path, tensors, **fields)
        warning = same_bytes(tmp_path, read_manifest(path))
        assert (warning is None) == (fields != {"seed": 3})
    assert warning is None
    (tmp_path / "tiny-ipc1" / "mine" / MANIFEST).write_text("{}")
    warning = same_bytes(tmp_path, read_manifest(written(tmp_path, seed=5)))
    assert warning is not None and "seed 5 of mine has the same bytes as seed 3:" in warning


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    with FullDisk(5_000), pytest.raises(OSError, match=r"cannot write the submission to .*needs 9,240 bytes"):
        written(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_submission_that_was_to_be_replaced(tmp_path: Path) -> None:
    folder = written(tmp_path)
    with FullDisk(5_000), pytest.raises(OSError, match="nothing half-written was kept"):
        written(tmp_path, {"clips": clips(seed=9), "labels": LABELS}, force=True)
    assert torch.equal(submission.read(folder, SPEC).tensors["clips"], clips())
    assert sorted(p.name for p in folder.iterdir()) == ["data.safetensors", "manifest.json"]


def test_a_disk_that_fills_before_the_manifest_leaves_no_data_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Manifest, **options: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Manifest, "model_dump_json", full)  # no limit lets 9 kB pass and then stops 1 kB
    with pytest.raises(OSError, match="No space left on device"):
        written(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "tiny-ipc1").write_text("a file in place of a folder")
    with pytest.raises(OSError, match=r"cannot write the submission to .*tiny-ipc1/mine .*writable folder"):
        written(tmp_path)
    assert all_files(tmp_path) == ["tiny-ipc1"]


KILLED = """
import os, sys
from pathlib import Path
from tests.builders.submissions import LABELS, clips, written
place, calls = os.replace, []
def kill(*args):
    calls.append(args)
    if len(calls) > int(sys.argv[2]):
        os._exit(9)
    place(*args)
os.replace = kill
written(Path(sys.argv[1]), {"clips": clips(seed=9), "labels": LABELS}, force=True)
"""


@pytest.mark.long
@pytest.mark.parametrize("renames", [0, 1])
def test_a_kill_at_any_rename_never_leaves_a_manifest_with_other_data(tmp_path: Path, renames: int) -> None:
    folder = written(tmp_path)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(renames)], cwd=Path(__file__).parents[2], check=False
    )
    assert killed.returncode == 9
    assert not (folder / MANIFEST).exists()
    assert submission.read(written(tmp_path), SPEC).manifest.method == "mine"  # written again, whole
