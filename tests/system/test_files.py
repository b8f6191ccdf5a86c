"""Files appear whole or not at all, and a stranger's JSON is read within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.full_disk import FullDisk
from vddbench.system.files import check_writable, parse_json, read_json, replacing, write_new


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with replacing(path) as file:
        file.write(b"first")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"first" and [p.name for p in path.parent.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o444 == 0o444  # readable by others, as a shared folder needs


def test_a_new_file_never_replaces_another(tmp_path: Path) -> None:
    write_new(tmp_path / "file", lambda file: file.write(b"first"))
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "file", lambda file: file.write(b"second"))
    assert (tmp_path / "file").read_bytes() == b"first" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'{"a": 1, "a": 2}', "'a' appears twice"),
        (b'[{"b": {"c": 1, "c": 1}}]', "'c' appears twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1', "delimiter"),
        (b"\xff\xfe\xfa", "codec"),
        ('{"a": 1}'.encode("utf-16"), "codec"),
        ('{"a": 1}'.encode("utf-8-sig"), "UTF-8 BOM"),
        (b" " * 200_001, "more than 200,000 bytes"),
    ],
)
def test_json_of_strangers_is_refused_in_a_sentence(text: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_json(text, 200_000)
    (tmp_path / "file.json").write_bytes(text)
    with pytest.raises(ValueError, match=problem):
        read_json(tmp_path / "file.json", 200_000)
    assert parse_json(b'{"a": [1, {"b": null}]}', 100) == {"a": [1, {"b": None}]}


def test_a_folder_that_cannot_be_written_is_noticed_before_the_work(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        check_writable(tmp_path / "file")
    with FullDisk(1_000), pytest.raises(OSError, match=str(tmp_path / "a")):
        check_writable(tmp_path / "a")
