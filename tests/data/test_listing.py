"""Lists of videos against the files on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from vddbench.data.listing import files_below, read_list, sizes
from vddbench.data.matching import one_each
from vddbench.spec import Video


def test_files_of_all_folders_are_found_once_also_through_links_in_circles(tmp_path: Path) -> None:
    for name in ("b/2.mp4", "a/1.mp4", "a/1.csv", "Ünï ☃/3.MP4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "other name of b").symlink_to(tmp_path / "b")
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "elsewhere.mp4").symlink_to(tmp_path / "nowhere")
    found = [str(Path(file).relative_to(tmp_path)) for file in files_below(tmp_path, (".mp4",))]
    assert found == ["elsewhere.mp4", "a/1.mp4", "b/2.mp4", "Ünï ☃/3.MP4"]


def test_only_existing_files_have_a_size(tmp_path: Path) -> None:
    (tmp_path / "one.mp4").write_bytes(b"12345")
    (tmp_path / "frames").mkdir()
    for i in range(3):
        (tmp_path / "frames" / f"{i}.jpg").write_bytes(b"12")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "nowhere")
    paths = {"one": tmp_path / "one.mp4", "frames": tmp_path / "frames", "link": tmp_path / "link.mp4", "none": None}
    videos = {name: Video(id=name, path=path, label=0, split="train") for name, path in paths.items()}
    assert sizes(videos) == {"one": 5, "frames": 6}


def test_two_files_of_one_video_are_named() -> None:
    with pytest.raises(ValueError, match=r"two files are video v: a/v\.avi and b/v\.avi; remove one"):
        one_each([("v", Path("a/v.avi")), ("w", Path("a/w.avi")), ("v", Path("b/v.avi"))], ".avi")


def test_a_list_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbflabel\n")
    assert read_list(tmp_path / "list.csv") == "label\n"
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"list\.csv is not UTF-8 text"):
        read_list(tmp_path / "list.csv")
