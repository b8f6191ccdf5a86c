"""A submission is read whole, or refused with what is wrong, what was found, what is allowed and what to do next."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders.submissions import (
    BUDGET_BYTES,
    LABELS,
    SPEC,
    TASK,
    all_files,
    clips,
    edit_manifest,
    pixel_tensors,
    rewrite_payload,
    written,
)  # fmt: skip
from vddbench import lookup
from vddbench.data.datasets import miniucf
from vddbench.spec import DatasetSpec, Manifest, Task
from vddbench.submissions import payload, rules, submission
from vddbench.submissions.decoders import static_dynamic
from vddbench.submissions.manifest import DATA, MANIFEST


def rehash(folder: Path) -> None:
    """Makes the manifest agree with changed data, so that only the data can be refused."""
    edit_manifest(folder, sha256=hashlib.sha256((folder / DATA).read_bytes()).hexdigest())


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    folder = written(tmp_path, seed=3, config={"lr": 0.5, "steps": 10}, authors=["A", "B"])
    assert folder == tmp_path / "tiny-ipc1" / "mine-s3"
    read = submission.read(folder, SPEC)
    assert read.manifest.config == {"lr": 0.5, "steps": 10}
    assert (read.manifest.labels, read.manifest.authors, read.manifest.seed) == ("hard", ("A", "B"), 3)
    assert read.manifest.sha256 == hashlib.sha256((folder / DATA).read_bytes()).hexdigest()
    assert read.payload_bytes == BUDGET_BYTES
    assert torch.equal(submission.decode(read, SPEC).clips, clips())
    assert submission.read(folder / MANIFEST, SPEC).manifest == read.manifest
    assert submission.task_of(folder) == TASK


def test_the_spec_of_a_bundled_dataset_is_known_without_its_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path))
    assert Task.parse("miniucf-ipc1").budget_bytes(submission.spec_of("miniucf")) == 30_106_000
    with pytest.raises(LookupError, match="no dataset named 'minucf'; did you mean miniucf"):
        submission.spec_of("minucf")


def test_one_byte_over_budget_is_refused_with_the_byte_table(tmp_path: Path) -> None:
    rules.check_bytes(payload.described(pixel_tensors()), TASK, SPEC)  # exactly the budget
    tensors = {"clips": clips(), "labels": LABELS, "x": torch.zeros(1, dtype=torch.uint8)}
    with pytest.raises(ValueError, match=rf"{BUDGET_BYTES + 1:,} bytes is 1 over .*'clips' \[3, 4, 16, 16, 3\] uint8 9,216"):
        rules.check_bytes(payload.described(tensors), TASK, SPEC)
    with pytest.raises(ValueError, match="over the budget of tiny-ipc1: 9,240 bytes = 1 x 3 classes x"):
        written(tmp_path, tensors, method="other")
    assert not (tmp_path / "tiny-ipc1" / "other").exists()


def test_an_oversized_file_is_refused_before_its_tensors_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path)
    rewrite_payload(folder, {"clips": clips(400), "labels": torch.arange(400) % 3})
    monkeypatch.setattr(payload, "load", lambda path: pytest.fail("mapped"))
    monkeypatch.setattr(rules, "sha256_file", lambda path: pytest.fail("hashed"))
    with pytest.raises(ValueError, match="over the budget"):
        submission.read(folder, SPEC)


def test_the_full_task_has_no_budget(tmp_path: Path) -> None:
    folder = written(tmp_path, {"clips": clips(20), "labels": torch.arange(20) % 3}, task="tiny-full")
    assert len(submission.decode(submission.read(folder, SPEC), SPEC)) == 20


def test_a_small_payload_may_not_decode_to_a_huge_set(tmp_path: Path) -> None:
    large = SPEC.model_copy(update={"frames": 200})
    num_clips = 193  # 64 x 3 + 1
    tensors = {"frames": torch.zeros((num_clips, 16, 16, 3), dtype=torch.uint8), "labels": torch.arange(num_clips) % 3}
    with pytest.raises(ValueError, match="decodes to 193 clips = 29,644,800 bytes of memory; allowed: 192 clips"):
        written(tmp_path, tensors, decoder="still", spec=large)


@pytest.mark.parametrize(
    ("decoder", "per_value"), [("pixels", 1), ("still", 1), ("keyframes", 1), ("ragged_keyframes", 1), ("static_dynamic", 4)]
)
def test_the_memory_of_decoded_clips_is_limited_in_their_own_dtype(decoder: str, per_value: int) -> None:
    """The limit is checked before the decoder sees the tensors, and float32 takes four bytes a value."""
    module, most = lookup.load("decoder", decoder), 64 * 3 // per_value
    for name, factor in (("plain", 1), ("scaled", 4 // per_value)):
        pixels = {"clips": torch.zeros(1, dtype=torch.uint8), "frames": torch.zeros(1, dtype=torch.uint8)}
        pixels |= {"scale": torch.ones(3)} if name == "scaled" else {}
        rules.check_expansion({**pixels, "labels": torch.zeros(most // factor)}, module, TASK, SPEC)
        with pytest.raises(ValueError, match="clips, 64 times the budget"):
            rules.check_expansion({**pixels, "labels": torch.zeros(most // factor + 1)}, module, TASK, SPEC)


def test_static_dynamic_pairs_may_not_fill_the_memory() -> None:
    """29.5 MB within the budget of miniucf-ipc1 would be 3.2 GB: 16 x 4 pairs in each of 21 slots."""
    labels = torch.zeros(21 * 16 * 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match="1,344 clips = 3,236,954,112 bytes of memory; allowed: 800 clips"):
        rules.check_expansion({"labels": labels}, static_dynamic, Task.parse("miniucf-ipc1"), miniucf.SPEC)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"methd": "x"}, "no field named 'methd'; did you mean method.*remove it"),
        ({"method": "../../etc"}, "field 'method': .*found '../../etc'"),
        ({"seed": -1}, "field 'seed': .*greater than or equal to 0; found '-1'"),
        ({"decoder": "os.system"}, "field 'decoder'"),
        ({"labels": "medium"}, "field 'labels': Input should be 'hard' or 'soft'; found 'medium'"),
        ({"sha256": "0" * 64}, "sha256 .* its manifest says 0000.*download it again"),
        ({"sha256": "xyz"}, "field 'sha256'"),
        ({"task": "tiny-ipc5"}, "the folder is tiny-ipc1/mine but .* must lie in tiny-ipc5/mine; move the folder"),
        ({"task": "tiny-ipc0"}, "ipc 0 is not a budget of this benchmark; use tiny-ipc1"),
        ({"task": "../x-ipc1"}, "is not DATASET-ipcN"),
        ({"method": "other"}, "must lie in tiny-ipc1/other"),
        ({"seed": 2}, "must lie in tiny-ipc1/mine-s2"),
        ({"config": {"a": [1]}}, "field 'config.a"),
        ({"config": {str(i): i for i in range(201)}}, "field 'config': .*at most 200 items"),
        ({"code": "javascript:alert(1)"}, "field 'code'"),
    ],
)
def test_a_wrong_manifest_is_refused_by_field(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    folder = written(tmp_path)
    edit_manifest(folder, **fields)
    with pytest.raises(ValueError, match=message):
        submission.read(folder, SPEC)


def test_all_wrong_fields_are_reported_at_once(tmp_path: Path) -> None:
    folder = written(tmp_path)
    edit_manifest(folder, seed=-1, nonsense=1, labels="medium")
    with pytest.raises(ValueError) as error:
        submission.read(folder, SPEC)
    first, *reasons = str(error.value).splitlines()
    assert (first, len(reasons)) == (f"{folder} is refused:", 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"x" * 10_000_000, "has 10,000,000 bytes; allowed: 1,000,000; a manifest holds no data"),
        (b"[" * 900_000, "is not valid JSON"),
        (b'{"a":' * 190_000, "is not valid JSON"),
        (b'{"method": "a", "method": "b"}', "'method' appears twice"),
        (b"\xff\xfe\x00", "is not valid JSON"),
        (b"", "is not valid JSON"),
        (b"9" * 5_000, "is not valid JSON"),
        (b"[]", "valid dictionary|object"),
        (b'{"seed": "\\ud800"}', "field"),
        (b"{}", "field 'method' is missing"),
    ],
)
def test_a_file_that_is_not_a_manifest_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    folder = written(tmp_path)
    (folder / MANIFEST).write_bytes(text)
    with pytest.raises(ValueError, match=message) as error:
        submission.read(folder, SPEC)
    assert len(str(error.value)) < 4_000


def test_a_nan_in_the_config_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    text = (folder / MANIFEST).read_text().replace('"config": {}', '"config": {"lr": NaN}')
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match=r"field 'config.lr"):
        submission.read(folder, SPEC)


def test_the_schema_names_every_field_and_forbids_others() -> None:
    schema = Manifest.model_json_schema()
    assert set(schema["properties"]) == set(Manifest.model_fields)
    assert schema["additionalProperties"] is False


def test_labels_of_the_other_track_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'labels' says 'soft', the tensors hold 'hard' labels; correct it"):
        written(tmp_path, labels="soft")


def test_an_unknown_decoder_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="no decoder named 'pixel'; did you mean pixels"):
        written(tmp_path, decoder="pixel")
    assert all_files(tmp_path) == []


def test_a_missing_folder_or_file_says_what_a_submission_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no submission at .*: give a folder submissions/TASK/METHOD"):
        submission.read(tmp_path / "nothing", SPEC)
    (tmp_path / "syn.pt").touch()
    with pytest.raises(FileNotFoundError, match=r"no submission at .*; vddbench pack \S*syn.pt makes one of a file of clips$"):
        submission.read(tmp_path / "syn.pt", SPEC)
    (tmp_path / "syn.pt").unlink()
    folder = written(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"is a folder of submissions; give one of them: {folder.name}$"):
        submission.read(folder.parent, SPEC)
    (folder / DATA).unlink()
    with pytest.raises(FileNotFoundError, match=r"has no data.safetensors; a submission is manifest.json and"):
        submission.read(folder, SPEC)
    (folder / MANIFEST).unlink()
    with pytest.raises(FileNotFoundError, match=r"has no manifest.json"):
        submission.read(folder, SPEC)


@pytest.mark.parametrize("name", ["manifest.json", "data.safetensors"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path)
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(ValueError, match="is a link that leaves its folder"):
        submission.read(folder, SPEC)


@pytest.mark.parametrize("name", ["manifest.json", "data.safetensors"])
def test_a_link_to_itself_is_a_reason_without_a_traceback(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path)
    (folder / name).unlink()
    (folder / name).symlink_to(name)
    assert any("symbolic links" in reason for reason in submission.open_submission(folder, SPEC).reasons)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileNotFoundError, match="no submission at"):
        submission.open_submission(tmp_path / "loop", SPEC)


def test_a_folder_in_place_of_the_data_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / DATA).unlink()
    (folder / DATA).mkdir()
    with pytest.raises(ValueError, match="is not a regular file"):
        submission.read(folder, SPEC)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: torch.save(pixel_tensors(), path), "looks like a zip archive .a PyTorch.*vddbench pack"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "looks like a Python pickle.*never opened here"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00 something"), "looks like a NumPy .npy file"),
        (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "git LFS pointer.*git lfs pull"),
        (lambda path: path.write_bytes(b"<!DOCTYPE html><html>not found</html>"), "looks like an HTML or XML page"),
        (lambda path: path.write_bytes(b""), "not a safetensors file, or a truncated one"),
        (lambda path: path.write_bytes(b"1234567"), "not a safetensors file, or a truncated one"),
    ],
)
def test_a_renamed_file_of_another_format_is_recognised(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    folder = written(tmp_path)
    make(folder / DATA)
    rehash(folder)
    with pytest.raises(ValueError, match=message):
        submission.read(folder, SPEC)


def test_changed_data_under_an_unchanged_manifest_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    rewrite_payload(folder, {"clips": clips(seed=1), "labels": LABELS})
    with pytest.raises(ValueError, match="the payload was changed or damaged after it was written"):
        submission.read(folder, SPEC)


def test_clips_are_read_from_disk_only_when_used(tmp_path: Path) -> None:
    spec: DatasetSpec = SPEC.model_copy(update={"size": 64, "frames": 16})
    shape = (200, *spec.clip_shape)
    tensors = {"clips": torch.zeros(shape, dtype=torch.uint8), "labels": torch.arange(200) % 3}  # 39 MB
    folder = written(tmp_path, tensors, task="tiny-full", spec=spec)
    script = (
        "import resource, sys; from pathlib import Path; from vddbench.submissions import payload\n"
        "rss = lambda: int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()\n"
        "before = rss(); tensors = payload.load(Path(sys.argv[1])); print(rss() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder / DATA)],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(done.stdout) < 20_000_000
