"""A submission is read whole or refused with what, found, allowed and next; it is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import pickle
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.builders.submissions import BUDGET_BYTES, LABELS, SPEC, TASK, all_files, clips, edit_manifest, pixel_tensors, written
from vddbench.spec import DatasetSpec, Manifest, Task
from vddbench.submissions import payload, submission


def write(root: Path, tensors: dict[str, torch.Tensor], **fields: Any) -> Path:
    return submission.write(root, tensors, **{"method": "mine", "task": str(TASK), "decoder": "pixels", **fields}, spec=SPEC)


def data_of(folder: Path) -> Path:
    return folder / "data.safetensors"


def rehash(folder: Path) -> None:
    """Makes the manifest agree with changed data, so that only the data can be refused."""
    edit_manifest(folder, sha256=hashlib.sha256(data_of(folder).read_bytes()).hexdigest())


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path, pixel_tensors(), seed=3, config={"lr": 0.5, "steps": 10}, authors=["A", "B"])
    assert folder == tmp_path / "tiny-ipc1" / "mine-s3"
    read = submission.read(folder, SPEC)
    assert read.manifest.config == {"lr": 0.5, "steps": 10}
    assert (read.manifest.labels, read.manifest.authors, read.manifest.seed) == ("hard", ("A", "B"), 3)
    assert read.manifest.sha256 == hashlib.sha256(data_of(folder).read_bytes()).hexdigest()
    assert read.payload_bytes == BUDGET_BYTES
    assert torch.equal(submission.decode(read, SPEC).clips, clips())
    assert submission.read(folder / "manifest.json", SPEC).manifest == read.manifest
    assert submission.task_of(folder) == TASK


def test_the_budget_of_miniucf_ipc1_is_the_protocols_number() -> None:
    spec = SPEC.model_copy(update={"class_names": tuple(f"c{i:02}" for i in range(50)), "frames": 16, "size": 112})
    assert Task.parse("miniucf-ipc1").budget_bytes(spec) == 30_106_000


def test_a_pinned_datasets_spec_is_known_without_its_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path))
    assert Task.parse("miniucf-ipc1").budget_bytes(submission.spec_of("miniucf")) == 30_106_000
    with pytest.raises(LookupError, match="no dataset named 'minucf'; did you mean miniucf"):
        submission.spec_of("minucf")


def test_same_tensors_give_the_same_bytes_as_the_safetensors_library(tmp_path: Path) -> None:
    tensors = {f"t{i}": torch.arange(6).reshape(2, 3).to(dtype) for i, dtype in enumerate(payload.CODES)}
    tensors |= {"transposed": torch.arange(6).reshape(2, 3).T, "scalar": torch.tensor(1.5)}
    ours = b"".join(payload.chunks(tensors))
    assert ours == safetensors.torch.save({name: t.contiguous() for name, t in tensors.items()})
    assert ours == b"".join(payload.chunks(dict(reversed(tensors.items()))))
    assert payload.sha256(tensors) == hashlib.sha256(ours).hexdigest()
    (tmp_path / "x.safetensors").write_bytes(ours)
    loaded = payload.load(tmp_path / "x.safetensors")
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_one_byte_over_budget_is_refused_with_the_byte_table(tmp_path: Path) -> None:
    submission.check_bytes(payload.described(pixel_tensors()), TASK, SPEC)  # exactly the budget
    tensors = {"clips": clips(), "labels": LABELS, "x": torch.zeros(1, dtype=torch.uint8)}
    with pytest.raises(ValueError, match=rf"{BUDGET_BYTES + 1:,} bytes is 1 over .*'clips' \[3, 4, 16, 16, 3\] uint8 9,216"):
        submission.check_bytes(payload.described(tensors), TASK, SPEC)
    with pytest.raises(ValueError, match="over the budget of tiny-ipc1: 9,240 bytes = 1 x 3 classes x"):
        write(tmp_path, tensors, method="other")
    assert not (tmp_path / "tiny-ipc1" / "other").exists()


def test_an_oversized_file_is_refused_before_its_tensors_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path)
    big = {"clips": clips(4), "labels": torch.tensor([0, 1, 2, 0])}
    data_of(folder).write_bytes(b"".join(payload.chunks(big)))
    rehash(folder)
    monkeypatch.setattr(payload, "load", lambda path: pytest.fail("read"))
    with pytest.raises(ValueError, match="over the budget"):
        submission.read(folder, SPEC)


def test_the_full_task_has_no_budget(tmp_path: Path) -> None:
    folder = write(tmp_path, {"clips": clips(20), "labels": torch.arange(20) % 3}, task="tiny-full")
    assert len(submission.decode(submission.read(folder, SPEC), SPEC)) == 20


def test_a_small_payload_may_not_decode_to_a_huge_set(tmp_path: Path) -> None:
    large = SPEC.model_copy(update={"frames": 200})
    num_clips = 193  # 64 x 3 + 1
    tensors = {"frames": torch.zeros((num_clips, 16, 16, 3), dtype=torch.uint8), "labels": torch.arange(num_clips) % 3}
    with pytest.raises(ValueError, match="decodes to 193 clips = 29,644,800 bytes; allowed: 192 clips"):
        submission.write(tmp_path, tensors, method="mine", task="tiny-ipc1", decoder="still", spec=large)


# --- the manifest


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
def test_a_manifest_that_is_wrong_is_refused_by_field(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    folder = written(tmp_path)
    edit_manifest(folder, **fields)
    with pytest.raises(ValueError, match=message):
        submission.read(folder, SPEC)


def test_all_wrong_fields_are_reported_at_once(tmp_path: Path) -> None:
    folder = written(tmp_path)
    edit_manifest(folder, seed=-1, nonsense=1, labels="medium")
    with pytest.raises(ValueError) as error:
        submission.read(folder, SPEC)
    assert len(str(error.value).splitlines()) == 3


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
def test_a_manifest_that_is_no_manifest_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    folder = written(tmp_path)
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(ValueError, match=message) as error:
        submission.read(folder, SPEC)
    assert len(str(error.value)) < 4_000


def test_a_nan_in_the_config_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    text = (folder / "manifest.json").read_text().replace('"config": {}', '"config": {"lr": NaN}')
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"field 'config.lr"):
        submission.read(folder, SPEC)


def test_the_schema_names_every_field_and_forbids_others() -> None:
    schema = Manifest.model_json_schema()
    assert set(schema["properties"]) == set(Manifest.model_fields)
    assert schema["additionalProperties"] is False


def test_labels_of_the_other_track_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'labels' says 'soft', the tensors hold 'hard' labels; correct it"):
        write(tmp_path, pixel_tensors(), labels="soft")


def test_an_unknown_decoder_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="no decoder named 'pixel'; did you mean pixels"):
        write(tmp_path, pixel_tensors(), decoder="pixel")
    assert all_files(tmp_path) == []


# --- the folder


def test_a_missing_folder_or_file_says_what_a_submission_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no submission at .*: give a folder submissions/TASK/METHOD"):
        submission.read(tmp_path / "nothing", SPEC)
    folder = written(tmp_path)
    data_of(folder).unlink()
    with pytest.raises(FileNotFoundError, match=r"has no data.safetensors; a submission is manifest.json and"):
        submission.read(folder, SPEC)
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no manifest.json"):
        submission.read(folder, SPEC)


@pytest.mark.parametrize("name", ["manifest.json", "data.safetensors"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path)
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(ValueError, match="is a link that leaves its folder"):
        submission.read(folder, SPEC)


def test_a_folder_in_place_of_the_data_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    data_of(folder).unlink()
    data_of(folder).mkdir()
    with pytest.raises(ValueError, match="is not a regular file"):
        submission.read(folder, SPEC)


# --- the data file


def header_file(path: Path, header: object, data: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"x": entry("F32", [10**12], 0, 4 * 10**12)}, b"", "truncated: its tensors need 4,000,000,000,000 bytes"),
        ({"x": entry("F32", [10**12], 0, 8)}, b"8 bytes.", r"claims shape \[1000000000000\] F32 = 4,000,000,000,000"),
        ({"x": entry("U8", [2**62, 4], 0, 2**64)}, b"", "data_offsets"),
        ({"x": entry("U8", [4], 0, 4), "y": entry("U8", [4], 2, 6)}, b"123456", "begins at byte 2 where 4 is due"),
        ({"x": entry("U8", [2], 2, 4)}, b"1234", "begins at byte 2 where 0 is due"),
        ({"x": entry("U8", [2], 0, 2)}, b"1234", "followed by bytes that no tensor counts"),
        ({"x": entry("U8", [-2], 0, -2)}, b"12", "whole numbers >= 0"),
        ({"x": entry("U8", [True], 0, 1)}, b"1", "whole numbers >= 0"),
        ({"x": entry("U8", [1] * 9, 0, 1)}, b"1", "up to 8 whole numbers"),
        ({"x": entry("F8_E4M3", [2], 0, 2)}, b"12", "dtype 'F8_E4M3'; allowed: U8"),
        ({"x": {"dtype": "U8"}}, b"", "must have exactly dtype, shape and data_offsets"),
        ({"x": 3}, b"", "must have exactly dtype, shape and data_offsets"),
        ({"x": entry("U8", [1], 0, 1) | {"strides": [0]}}, b"1", "must have exactly"),
        ({f"t{i}": entry("U8", [1], i, i + 1) for i in range(65)}, b"1" * 65, "found 65 tensors; allowed: 1 to 64"),
        ({}, b"", "found 0 tensors"),
        ({"__metadata__": {"a": "b"}}, b"", "found 0 tensors"),
        ([1], b"", "a JSON list; allowed: an object"),
        (b"[" * 1000, b"", "not valid JSON"),
        (b"{" + b'"a":{' * 100_000, b"", "not valid JSON"),
        (b'{"x":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,1]}}', b"1", "'dtype' appears twice"),
        (b"\xff\xff\xff", b"", "not valid JSON"),
    ],
)
def test_a_header_that_lies_is_refused_before_anything_is_mapped(
    tmp_path: Path, header: object, data: bytes, message: str
) -> None:
    header_file(tmp_path / "x.safetensors", header, data)
    with pytest.raises(ValueError, match=message):
        payload.load(tmp_path / "x.safetensors")


def test_a_header_longer_than_its_bound_or_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for length in (2**63, 10**12, 2_000_000, 0):
        path.write_bytes(struct.pack("<Q", length) + b"{}" + b" " * 1_500_000)
        with pytest.raises(ValueError, match=f"header claims {length:,} bytes.*allowed: a header of 2 to 1,000,000 bytes"):
            payload.entries(path)


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
def test_another_format_renamed_is_named(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    folder = written(tmp_path)
    make(data_of(folder))
    rehash(folder)
    with pytest.raises(ValueError, match=message):
        submission.read(folder, SPEC)


def test_every_truncation_of_a_payload_is_refused(tmp_path: Path) -> None:
    whole = b"".join(payload.chunks(pixel_tensors()))
    path = tmp_path / "x.safetensors"
    for length in [*range(0, 200, 7), *range(200, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="truncated"):
            payload.entries(path)


def test_flipped_bits_in_a_header_never_crash(tmp_path: Path) -> None:
    whole = b"".join(payload.chunks({"clips": clips(1), "labels": LABELS[:1]}))
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    rng, path = np.random.default_rng(0), tmp_path / "x.safetensors"
    refused = 0
    for _ in range(600):
        damaged = bytearray(whole)
        for at in rng.integers(0, start, size=int(rng.integers(1, 4))):
            damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            assert sum(t.numel() * t.element_size() for t in payload.load(path).values()) == len(whole) - start
        except ValueError:
            refused += 1
    assert refused > 400  # the rest renames a tensor or changes a shape or dtype of equal size


def test_changed_data_under_an_unchanged_manifest_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    data = bytearray(data_of(folder).read_bytes())
    data[-1] ^= 1
    data_of(folder).write_bytes(data)
    with pytest.raises(ValueError, match="the payload was changed or damaged after it was written"):
        submission.read(folder, SPEC)


# --- writing


def test_writing_the_same_again_changes_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path, pixel_tensors(), distill_seconds=1.5)
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}
    write(tmp_path, pixel_tensors(), distill_seconds=2.5)
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()} == before


@pytest.mark.parametrize("change", [{"config": {"lr": 1}}, {"decoder": "pixels", "code": "https://example.org"}])
def test_another_submission_in_the_folder_is_kept_unless_forced(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = written(tmp_path)
    with pytest.raises(ValueError, match="holds another submission; use another method name or distillation seed"):
        write(tmp_path, pixel_tensors(), **change)
    assert submission.read(folder, SPEC).manifest.config == {}
    write(tmp_path, {"clips": clips(seed=9), "labels": LABELS}, **change, force=True)
    assert torch.equal(submission.read(folder, SPEC).tensors["clips"], clips(seed=9))


def test_a_damaged_submission_is_not_taken_for_the_same(tmp_path: Path) -> None:
    folder = written(tmp_path)
    data_of(folder).write_bytes(b"")
    with pytest.raises(ValueError, match="holds another submission"):
        written(tmp_path)


@pytest.mark.parametrize("bad", [{}, {"clips": clips()}, {"clips": clips(2), "labels": LABELS}])
def test_refused_tensors_leave_nothing_behind(tmp_path: Path, bad: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="tensor"):
        write(tmp_path, bad)
    assert list(tmp_path.iterdir()) == []


def test_a_method_name_that_is_no_folder_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"field 'method': .*found '\.\./x'"):
        write(tmp_path, pixel_tensors(), method="../x")
    assert list(tmp_path.iterdir()) == []


class FullDisk:
    """Files of this process can't grow beyond `limit` bytes: what a full disk looks like, for real."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __enter__(self) -> None:
        self.signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.old = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, self.old[1]))

    def __exit__(self, *error: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.old)
        signal.signal(signal.SIGXFSZ, self.signal)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    with FullDisk(5_000), pytest.raises(OSError, match=r"cannot write the submission to .*needs 9,240 bytes"):
        written(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_submission_that_was_to_be_replaced(tmp_path: Path) -> None:
    folder = written(tmp_path)
    with FullDisk(5_000), pytest.raises(OSError, match="nothing half-written was kept"):
        write(tmp_path, {"clips": clips(seed=9), "labels": LABELS}, force=True)
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
    (tmp_path / "tiny-ipc1").write_text("a file where a folder is due")
    with pytest.raises(OSError, match=r"cannot write the submission to .*tiny-ipc1/mine .*writable folder"):
        written(tmp_path)
    assert all_files(tmp_path) == ["tiny-ipc1"]


KILLED = """
import os, sys
from pathlib import Path
from tests.builders.submissions import LABELS, clips, SPEC
from vddbench import submission
place, calls = os.replace, []
def kill(*args):
    calls.append(args)
    if len(calls) > int(sys.argv[2]):
        os._exit(9)
    place(*args)
os.replace = kill
submission.write(Path(sys.argv[1]), {"clips": clips(seed=9), "labels": LABELS}, method="mine", task="tiny-ipc1",
                 decoder="pixels", spec=SPEC, force=True)
"""


@pytest.mark.parametrize("renames", [0, 1])
def test_a_kill_at_any_rename_never_leaves_a_manifest_with_other_data(tmp_path: Path, renames: int) -> None:
    folder = written(tmp_path)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(renames)], cwd=Path(__file__).parents[2], check=False
    )
    assert killed.returncode == 9
    assert not (folder / "manifest.json").exists()
    assert submission.read(written(tmp_path), SPEC).manifest.method == "mine"  # written again, whole


def test_clips_are_read_from_disk_only_when_used(tmp_path: Path) -> None:
    spec: DatasetSpec = SPEC.model_copy(update={"size": 64, "frames": 16})
    shape = (200, *spec.clip_shape)
    tensors = {"clips": torch.zeros(shape, dtype=torch.uint8), "labels": torch.arange(200) % 3}  # 39 MB
    folder = submission.write(tmp_path, tensors, method="mine", task="tiny-full", decoder="pixels", spec=spec)
    script = (
        "import resource, sys; from pathlib import Path; from vddbench import payload\n"
        "rss = lambda: int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()\n"
        "before = rss(); tensors = payload.load(Path(sys.argv[1])); print(rss() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(data_of(folder))],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(done.stdout) < 20_000_000


def test_the_same_submission_again_is_no_other_one_from_whatever_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = written(Path("submissions"))
    before = (first / "manifest.json").stat().st_mtime_ns
    assert written(Path("submissions")) == first
    assert (first / "manifest.json").stat().st_mtime_ns == before
