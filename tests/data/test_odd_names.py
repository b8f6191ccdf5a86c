"""Folders as they come: names, links, pipes and permissions. Nothing hangs or gets lost without a word."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from tests.builders.faults import NAME, OPTIONS, command, listing
from tests.builders.layouts import file_name, write_kinetics_lists
from tests.builders.videos import copies, numbers, write_folder, write_video
from vddbench.data.datasets import hmdb51, kinetics400
from vddbench.data.decode import UnreadableVideo
from vddbench.data.prepare import prepare
from vddbench.data.sources.folder import read_folder
from vddbench.data.sources.frames import in_frames, store_frames
from vddbench.data.store import Store
from vddbench.spec import Video

ODD_NAMES = (
    "spaces  and more", "it's \"quoted\"", "(a) & b! #1 [c] {d} ~ + ; , = @ ^ %d %20", "-rf", "--force", "$HOME`id`|x>y*?",
    "äöü 日本 🎬 Ⅷ", "e\u0301 and \u00e9", ".a.b.c", "UPPER", "upper", "x" * 251, "a:b",
    "back\\slash", "con", "http:", "concat:a",
)  # fmt: skip
UNPRINTABLE = (
    b"new\nline.avi", b"caf\xe9.avi", b"bell\x07.avi", b"tab\t.avi",
    "right\u202eto left.avi".encode(), "no\u00a0break.avi".encode(),
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("plain"), train=1)


@pytest.fixture
def folder(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "clips"))


def reasons(store: Store) -> dict[str, str]:
    """Name -> why it is not in the store."""
    with (store.path / "problems.csv").open(newline="") as file:
        return {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}


def ran(folder: Path, *prefix: str, home: Path | None = None) -> tuple[int, str]:
    """The command itself, which may not hang; (exit status, what it said)."""
    environment = {**os.environ, **({"VDDBENCH_HOME": str(home)} if home else {})}
    line = [*prefix, *command(folder)]
    run = subprocess.run(line, capture_output=True, check=False, timeout=60, env=environment)
    return run.returncode, run.stderr.decode()


@contextmanager
def within_a_minute() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Names


def test_videos_of_any_printable_name_are_stored_under_it(folder: Path, tmp_path: Path) -> None:
    names = [f"{name}.avi" for name in ODD_NAMES]
    assert max(len(name.encode()) for name in names) == 255
    for i, name in enumerate(names):
        write_video(folder / "train" / "left" / name, 9, first=i)
    (folder / "train" / "-x ü!").mkdir()
    (folder / "test" / "-x ü!").mkdir()
    copies(folder / "train" / "left" / "0.avi", folder / "train" / "-x ü!", ["-.avi"])
    before = listing(folder)
    store = prepare(NAME, folder=folder, **OPTIONS, workers=1).store
    kept = dict(zip(store.train.index["video"], range(len(store.train)), strict=True))
    hidden = ".a.b.c.avi"
    assert set(kept) == {f"train/left/{name}" for name in [*names, "0.avi"] if name != hidden} | {
        "train/right/0.avi", "train/-x ü!/-.avi",
    }  # fmt: skip
    assert store.num_missing == 0 and listing(folder) == before
    for i, name in enumerate(names):
        if name != hidden:
            assert numbers(store.train.clips(np.array([kept[f"train/left/{name}"]]), np.array([0]))[0].numpy())[0] == i, name


@pytest.mark.parametrize("name", UNPRINTABLE)
def test_names_that_can_not_be_printed_are_refused_and_shown(folder: Path, name: bytes) -> None:
    shutil.copyfile(folder / "train" / "left" / "0.avi", os.fsencode(folder / "train" / "left") + b"/" + name)
    with pytest.raises(ValueError, match="has unprintable characters; rename it") as refusal:
        read_folder(folder)
    assert repr(os.fsdecode(name)) in str(refusal.value)


@pytest.mark.parametrize("name", [b"caf\xe9 \n raw", b"-rf", b"x" * 255])
def test_the_folder_itself_may_have_any_name(folder: Path, tmp_path: Path, name: bytes) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    folder.rename(odd)
    (odd / "train" / "left" / "empty.avi").touch()
    store = prepare(NAME, folder=odd, **OPTIONS, workers=1).store
    assert reasons(store) == {"empty.avi": "empty file"} and len(store.train) == 2


def test_names_that_differ_in_case_only_are_two_videos_and_two_classes(folder: Path) -> None:
    for part in ("train", "test"):
        shutil.copytree(folder / part / "right", folder / part / "Left")
        shutil.copyfile(folder / part / "right" / "0.avi", folder / part / "Left" / "0.AVI")
    store = prepare(NAME, folder=folder, **OPTIONS, workers=1).store
    assert store.spec.class_names == ("Left", "left", "right") and len(store.test) == 4


# Links, pipes, devices


def test_pipes_devices_and_dangling_links_are_listed_with_reasons_and_nothing_hangs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder / "train" / "left"
    os.mkfifo(place / "pipe.avi")
    sock = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(place)  # a socket's path is at most 107 bytes
    sock.bind("socket.mp4")
    os.chdir(here)
    expected = {"pipe.avi": "not a regular file", "socket.mp4": "not a regular file"}
    if os.geteuid() == 0:
        os.mknod(place / "zero.mkv", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        expected["zero.mkv"] = "not a regular file"
    (place / "dangling.avi").symlink_to(place / "nowhere")
    (place / "itself.avi").symlink_to("itself.avi")
    (place / "one.avi").symlink_to("two.avi")
    (place / "two.avi").symlink_to("one.avi")
    (place / "a folder.avi").mkdir()
    (place / "up").symlink_to(folder / "train")
    (folder / "train" / "circle").symlink_to("circle")
    expected["dangling.avi"] = "not there"
    expected |= dict.fromkeys(("itself.avi", "one.avi", "two.avi"), "cannot be read: Too many levels of symbolic links")
    before = listing(folder)
    with within_a_minute():
        store = prepare(NAME, folder=folder, **OPTIONS, workers=1).store
    sock.close()
    assert reasons(store) == expected and len(store.train) == 2 and listing(folder) == before
    assert f"{len(expected)} videos left out" in capsys.readouterr().err


def test_pipes_and_circles_of_a_downloaded_copy_are_listed_too(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kinetics, whose clips may lie in any folders, and be links to anywhere."""
    raw, names = tmp_path / "raw", kinetics400.CLASS_NAMES[:2]
    monkeypatch.setattr(kinetics400, "SPEC", kinetics400.SPEC.model_copy(update={"class_names": names}))
    ids = [f"abcdefghij{i}" for i in range(6)]
    write_kinetics_lists(raw, [(names[i % 2], video, 0) for i, video in enumerate(ids)], [(names[0], "test_______", 0)])
    clip = write_video(tmp_path / "elsewhere" / "clip.mp4", 9)
    for video in (ids[0], ids[1], "test_______"):
        (raw / file_name(video, 0)).symlink_to(clip)
    os.mkfifo(raw / file_name(ids[2], 0))
    (raw / file_name(ids[3], 0)).symlink_to(file_name(ids[3], 0))
    (raw / file_name(ids[4], 0)).symlink_to("/dev/zero")
    (raw / file_name(ids[5], 0)).symlink_to("nowhere")
    (raw / "again").symlink_to(raw)
    with within_a_minute():
        store = prepare("kinetics400", raw=raw, workers=1).store
    found = {name.split("_")[0]: reason for name, reason in reasons(store).items()}
    assert found == {
        ids[2]: "not a regular file", ids[3]: "cannot be read: Too many levels of symbolic links",
        ids[4]: "not a regular file", ids[5]: "not there",
    }  # fmt: skip


def test_a_pipe_among_extracted_frames_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "frame000001.jpg")
    with pytest.raises(UnreadableVideo, match="not a regular file"):
        store_frames(tmp_path, kinetics400.SPEC, tmp_path / "part")


def test_links_out_of_the_folder_are_followed(folder: Path, tmp_path: Path) -> None:
    """Large data are often split between disks by links to files, to folders of classes and to groups.csv."""
    clip, groups = tmp_path / "elsewhere" / "a.avi", tmp_path / "elsewhere" / "groups.csv"
    copies(folder / "train" / "left" / "0.avi", clip.parent, [clip.name])
    groups.write_text("path,group\ntrain/left/a.avi,a\n")
    (folder / "train" / "left" / "a.avi").symlink_to(clip)
    (folder / "train" / "right" / "b.avi").symlink_to(Path("../../../elsewhere/a.avi"))
    (folder / "train" / "more").symlink_to(clip.parent)
    (folder / "test" / "more").symlink_to(clip.parent)
    (folder / "groups.csv").symlink_to(groups)
    spec, videos = read_folder(folder)
    assert len(videos) == 8 and spec.class_names == ("left", "more", "right")
    assert {video.id: video.group for video in videos}["train/left/a.avi"] == "a"


# Permissions


def as_nobody_special() -> list[str]:
    """What to begin a command with, so that permissions hold for it. As root, without the rights to read and write all."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and no setpriv is here")
    return ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.mark.long
def test_files_that_may_not_be_read_are_listed_and_folders_are_named(folder: Path, tmp_path: Path) -> None:
    secret = shutil.copyfile(folder / "train" / "left" / "0.avi", folder / "train" / "left" / "secret.avi")
    secret.chmod(0)
    before = listing(folder)
    code, said = ran(folder, *as_nobody_special())
    assert code == 0 and listing(folder) == before, said
    assert reasons(Store.open(NAME)) == {"secret.avi": "cannot be read: Permission denied"}
    (folder / "train" / "right").chmod(0)
    code, said = ran(folder, *as_nobody_special(), home=tmp_path / "other")
    (folder / "train" / "right").chmod(0o755)
    assert code == 1 and "Permission denied" in said and f"{folder}/train/right" in said and "Traceback" not in said


def test_a_home_without_write_permission_is_reported(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "shared"
    home.mkdir(mode=0o555)
    code, said = ran(folder, *as_nobody_special(), home=home)
    assert code == 1 and "Traceback" not in said
    assert "cannot write in" in said and "set VDDBENCH_HOME to a folder you can write" in said


# Extracted frames under other names


def test_folders_of_frames_that_lost_characters_of_their_names_are_reported_and_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SDD's and twostreamfusion's have the names of the official lists; some scripts make names safe for a shell."""
    names = ["Goal_1_&_2_kick_ball_f_cm_np1_fr_goo_2", "(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0", "winKen_wave_u"]
    videos = [Video(id=f"c/{name}", path=None, label=0, split="train") for name in names]
    for name in (names[2], "Goal_1__2_kick_ball_f_cm_np1_fr_goo_2", "c/Rad_Schlag_die_Bank__cartwheel_f_cm_np1_le_med_0"):
        (tmp_path / name).mkdir(parents=True)
    found = in_frames(videos, tmp_path)
    assert [video.path is not None for video in found] == [False, False, True]
    said = capsys.readouterr().err
    assert "2 folders seem to have lost characters" in said
    assert f"{tmp_path}/Goal_1__2_kick_ball_f_cm_np1_fr_goo_2 for Goal_1_&_2_kick_ball_f_cm_np1_fr_goo_2;" in said
    in_frames(videos[2:], tmp_path)
    assert capsys.readouterr().err == ""


def test_the_odd_names_of_hmdb51_are_found_as_they_are(tmp_path: Path) -> None:
    names = [f"{film}_pour_u" for film in ("Brushing_Her_Hair__[_NEW_AUDIO_]_UPDATED!!!!", "a;b~c#d+e@f-(g)", "%d_*_?")]
    for name in names:
        (tmp_path / name).mkdir()
    found = in_frames([Video(id=f"pour/{name}", path=None, label=0, split="train") for name in names], tmp_path)
    assert [video.path for video in found] == [tmp_path / name for name in names]
    assert hmdb51.LINE.fullmatch(f"{names[0]}.avi 1")
