"""From raw videos to a store: the same bytes whatever happens on the way, and a clear word when it cannot be."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.builders.faults import members
from tests.builders.stores import COUNTED, SHARED, VIDEOS, interrupted, render
from tests.builders.videos import copies, numbers, write_folder, write_sound, write_video
from vddbench.commands.main import app
from vddbench.data.build import build_store, inputs_hash
from vddbench.data.journal import Journal
from vddbench.data.listing import by_id
from vddbench.data.prepare import prepare
from vddbench.data.sources.folder import read_folder
from vddbench.data.store import Store, store_path
from vddbench.data.stored_frames import Stored
from vddbench.data.workers import rendered_videos
from vddbench.spec import Video

pytestmark = pytest.mark.usefixtures("own_home")
SMALL = {"frames": 8, "size": 32, "stride": 1}
AVLETTERS = SHARED / "data" / "avletters"
needs_avletters = pytest.mark.skipif(not AVLETTERS.is_dir(), reason="no avletters beside the checkout")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 classes, 5 train and 1 test videos each."""
    return write_folder(tmp_path_factory.mktemp("clips"), train=5)


def made(name: str, folder: Path, **options: object) -> Store:
    return prepare(name, folder=folder, workers=1, **{**SMALL, **options}).store


# What a store of a folder holds


def test_a_folder_becomes_a_store_with_every_frame_in_place(folder: Path) -> None:
    store = made("clips", folder)
    assert store.spec.class_names == ("left", "right") and store.spec.student_steps["10"] == 1000
    assert (len(store.train), len(store.test), store.num_missing) == (10, 2, 0)
    sha256 = dict(zip(store.index["video"], store.index["sha256"], strict=True))
    for row, video in store.train.index.iterrows():
        first = 10 * int(video["label"])
        clip = store.train.clips(np.array([row]), np.array([0]))[0].numpy()
        assert numbers(clip) == list(range(first, first + 8))
        assert sha256[video["video"]] == hashlib.sha256((folder / video["video"]).read_bytes()).hexdigest()
        assert video["num_frames"] == 9 + int(Path(video["video"]).stem) and video["stride"] == 1


def test_without_groups_a_fifth_of_each_class_is_validation_and_every_class_keeps_one(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", 9)
    for name, count in (("one", 1), ("two", 2), ("six", 6)):
        copies(clip, tmp_path / "clips" / "train" / name, [f"{i}.avi" for i in range(count)])
        copies(clip, tmp_path / "clips" / "test" / name, ["0.avi"])
    store = made("clips", tmp_path / "clips")
    names = store.spec.class_names
    held_out = [names[label] for label in store.validation.labels]
    assert {name: held_out.count(name) for name in names} == {"one": 0, "two": 1, "six": 2}
    assert set(store.holdout_train.labels) == {0, 1, 2}


def test_a_store_of_one_training_video_a_class_has_no_validation_videos(tmp_path: Path) -> None:
    store = made("clips", write_folder(tmp_path / "clips", train=1))
    assert (len(store.train), len(store.holdout_train), len(store.validation), len(store.test)) == (2, 2, 0, 2)


def test_with_groups_validation_shares_no_group_with_the_rest_of_train(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", 9)
    rows = [["path", "group"]]
    for name in ("a", "b"):
        copies(clip, tmp_path / "clips" / "train" / name, [f"{i}.avi" for i in range(10)])
        copies(clip, tmp_path / "clips" / "test" / name, ["0.avi"])
        rows += [[f"train/{name}/{i}.avi", f"person {i // 2}"] for i in range(10)]
    with (tmp_path / "clips" / "groups.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    store = made("clips", tmp_path / "clips")
    groups = set(store.validation.index["group"])
    assert len(groups) == 1 and len(store.validation) == 4
    assert not groups & set(store.holdout_train.index["group"]) and set(store.holdout_train.labels) == {0, 1}


def test_names_with_spaces_and_any_letters_work(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", 9)
    for part in ("train", "test"):
        copies(clip, tmp_path / "my clips" / part / "Ägyptisch [1]", ["ein Gruß: 50%.avi", "日本.AVI", ".hidden.avi", "a.txt"])
        copies(clip, tmp_path / "my clips" / part / "plain", ["0.avi"])
    store = made("clips", tmp_path / "my clips")
    ids = set(store.test.index["video"])
    assert ids == {"test/Ägyptisch [1]/ein Gruß: 50%.avi", "test/Ägyptisch [1]/日本.AVI", "test/plain/0.avi"}


def test_a_subset_of_classes_and_a_shorter_recipe_are_in_the_spec(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clips", ("a", "b", "c"))
    (folder / "test" / "unknown").mkdir()
    store = made("clips", folder, classes=["c", "a"], student_steps=30)
    assert store.spec.class_names == ("a", "c")
    assert store.spec.student_steps == {"1": 30, "5": 30, "10": 60, "full": 30}


def test_the_digest_does_not_depend_on_the_number_of_workers_or_the_place(folder: Path, tmp_path: Path) -> None:
    one = made("clips", folder)
    shutil.copytree(folder, tmp_path / "moved")
    two = prepare("again", folder=tmp_path / "moved", workers=2, **SMALL).store
    assert one.digest == two.digest
    assert (one.path / "frames.bin").read_bytes() == (two.path / "frames.bin").read_bytes()
    assert made("other", folder, student_steps=7).digest != one.digest


@needs_avletters
def test_real_lip_videos_are_prepared(capsys: pytest.CaptureFixture[str]) -> None:
    done = prepare("avletters", folder=AVLETTERS, frames=8, size=64, classes=["A", "B"], workers=2)
    store = done.store
    assert (len(store.train), len(store.test), len(store.validation), done.problems) == (40, 20, 8, {})
    assert not set(store.validation.index["group"]) & set(store.holdout_train.index["group"])
    clips = store.train.clips(np.arange(40), store.train.centre_starts(np.arange(40))).numpy()
    assert 20 < clips.mean() < 235 and (clips.std(axis=(1, 2, 3, 4)) > 5).all()
    assert "40 train (8 of them validation) and 20 test videos, 2 classes" in capsys.readouterr().err


# Videos that cannot be read


def test_unreadable_videos_of_a_folder_are_listed_with_their_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path / "clips")
    bad = folder / "train" / "left"
    (bad / "empty.avi").touch()
    (bad / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(9000))
    write_sound(bad / "sound.mp4")
    whole = write_video(bad / "cut.avi", 40).read_bytes()
    (bad / "cut.avi").write_bytes(whole[: len(whole) * 2 // 3])
    done = prepare("clips", folder=folder, workers=2, **SMALL)
    with (done.store.path / "problems.csv").open(newline="") as file:
        reasons = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}
    assert set(reasons) == {"empty.avi", "noise.mp4", "sound.mp4", "cut.avi"}
    assert reasons["empty.avi"] == "empty file" and reasons["sound.mp4"] == "no video stream"
    assert (len(done.store.train), done.store.num_missing, sum(done.problems.values())) == (6, 4, 4)
    said = capsys.readouterr().err
    assert "4 videos left out" in said and "1 empty file" in said and "problems.csv" in said


def test_a_class_without_a_readable_training_video_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clips", train=1)
    (folder / "train" / "left" / "0.avi").write_bytes(b"")
    with pytest.raises(
        ValueError,
        match=r"no readable training video in left; unreadable: 1, e\.g\. train/left/0\.avi \(empty file\); .*problems.csv",
    ):
        made("clips", folder)
    assert not (store_path("clips") / "done.json").exists()


@pytest.mark.parametrize(("bad", "num_resumed"), [("train/left/0.avi", 9), ("test/left/0.avi", 11)])  # test lies behind train
def test_a_pinned_dataset_with_an_unreadable_video_keeps_the_rest_until_it_is_replaced(
    folder: Path, tmp_path: Path, bad: str, num_resumed: int
) -> None:
    copy = shutil.copytree(folder, tmp_path / "clips")
    spec, _ = read_folder(copy, frames=8, size=32, stride=1)
    spec = spec.model_copy(update={"num_videos": {"train": 10, "test": 2}})
    whole = build_store("whole", spec, read_folder(copy)[1], workers=1).store
    (copy / bad).write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=rf"1 videos of pinned could not be read \({bad}: cannot be decoded"):
        build_store("pinned", spec, read_folder(copy)[1], workers=1)
    shutil.copyfile(folder / bad, copy / bad)
    done = build_store("pinned", spec, read_folder(copy)[1], workers=1)
    assert done.num_resumed == num_resumed and done.store.digest == whole.digest
    for mine, other in ((done.store.train, whole.train), (done.store.test, whole.test)):
        videos = np.arange(len(mine))
        assert (mine.clips(videos, mine.last_starts) == other.clips(videos, other.last_starts)).all()


# Running again


def test_running_again_does_nothing_and_other_options_need_force(folder: Path) -> None:
    first = made("clips", folder)
    written = (first.path / "frames.bin").stat().st_mtime_ns
    assert prepare("clips", folder=folder, **SMALL).already
    with pytest.raises(ValueError, match=r"already prepared at .*differs in: size, student_steps.*--force"):
        made("clips", folder, size=16, student_steps=9)
    assert (first.path / "frames.bin").stat().st_mtime_ns == written
    second = made("clips", folder, size=16, force=True)
    assert second.spec.size == 16 and second.digest != first.digest
    assert sorted(p.name for p in first.path.parent.iterdir()) == [".clips.lock", "clips"]


def test_a_changed_video_is_noticed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clips")
    made("clips", folder)
    write_video(folder / "train" / "left" / "0.avi", 30)
    with pytest.raises(ValueError, match="differs in: the list of videos or their sizes"):
        made("clips", folder)


def test_running_again_notices_frames_that_changed_on_disk(folder: Path) -> None:
    store = made("clips", folder)
    with (store.path / "frames.bin").open("r+b") as file:
        file.seek(5000)
        file.write(b"\0")
    Store.open("clips")  # reads no frames
    with pytest.raises(ValueError, match=r"no longer holds the prepared frames of 1 videos: train/left/0.avi;.*with --force"):
        made("clips", folder)
    assert made("clips", folder, force=True).digest == store.digest
    assert prepare("clips", folder=folder, **SMALL).already


def test_a_store_whose_index_lacks_a_column_must_be_prepared_again(folder: Path) -> None:
    store = made("clips", folder)
    pd.read_parquet(store.path / "index.parquet").drop(columns="frames_sha256").to_parquet(store.path / "index.parquet")
    for opened in (lambda: Store.open("clips"), lambda: made("clips", folder)):
        with pytest.raises(ValueError, match=r"lacks frames_sha256.*prepare clips --force"):
            opened()
    assert made("clips", folder, force=True).digest == store.digest


# What train and test share


def test_videos_and_groups_in_both_train_and_test_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "clips"
    for label, name in enumerate(("a", "b")):
        write_video(folder / "train" / name / "0.avi", 10, first=10 * label)
        write_video(folder / "test" / name / "0.avi", 10, first=10 * label + 3)
    store = made("clean", folder)
    said = capsys.readouterr().err
    assert "of a training video" not in said and "in train and in test" not in said
    assert json.loads((store.path / "done.json").read_text())["num_shared"] == 0
    shutil.copyfile(folder / "train" / "b" / "0.avi", folder / "test" / "a" / "copy.avi")  # under another label, too
    (folder / "groups.csv").write_text("path,group\ntrain/a/0.avi,ann\ntest/a/0.avi,ann\ntest/b/0.avi,bob\n")
    for _ in range(2):  # also when the store is there already
        store = made("clips", folder)
        said = capsys.readouterr().err
        assert "1 test videos have the frames of a training video: test/a/copy.avi = train/b/0.avi\n" in said
        assert "1 groups are in train and in test: ann\n" in said
    assert json.loads((store.path / "done.json").read_text())["num_shared"] == 1


def test_the_command_warns_of_clips_that_the_ranked_student_cannot_take(folder: Path) -> None:
    for frames, size, fits in ((8, 64, True), (8, 48, True), (7, 64, False), (8, 32, False), (8, 80, False)):
        command = ["prepare", "clips", "--folder", folder, "--frames", frames, "--size", size, "--workers", 1, "--force"]
        result = CliRunner().invoke(app, list(map(str, command)))
        warning = "warning: these clips can't be ranked: convnet3d needs clips of at least 8 frames"
        assert result.exit_code == 0 and (warning in " ".join(result.output.split())) != fits


def test_a_swap_killed_halfway_is_completed(folder: Path) -> None:
    first = made("clips", folder)
    first.path.rename(first.path.with_name(".clips.old"))
    shutil.copytree(first.path.with_name(".clips.old"), first.path.with_name(".clips.force"))
    assert prepare("clips", folder=folder, **SMALL).already
    assert sorted(p.name for p in first.path.parent.iterdir()) == [".clips.lock", "clips"]


def test_a_rebuilt_store_that_was_killed_before_it_took_its_place_is_not_built_again(folder: Path) -> None:
    first = made("clips", folder)
    shutil.copytree(first.path, first.path.with_name(".clips.force"))
    (first.path / "frames.bin").write_bytes(b"")
    done = prepare("clips", folder=folder, **SMALL, force=True)
    assert done.already and done.store.digest == first.digest
    assert sorted(p.name for p in first.path.parent.iterdir()) == [".clips.lock", "clips"]
    assert not prepare("clips", folder=folder, **SMALL, force=True).already


# Interrupted at any moment: a procedural dataset that stops when told, and real processes that are killed


def resumed(name: str) -> int:
    """How many videos the second run did not have to make again; its store must be as if nothing had happened."""
    done = build_store(name, COUNTED, VIDEOS, render=render)
    whole = build_store("whole", COUNTED, VIDEOS, render=render).store
    assert done.store.digest == whole.digest
    assert (done.store.path / "frames.bin").read_bytes() == (whole.path / "frames.bin").read_bytes()
    return done.num_resumed


def test_ctrl_c_says_how_to_resume_and_the_next_run_resumes(capsys: pytest.CaptureFixture[str]) -> None:
    interrupted("stopped")
    assert "run the same command again to resume" in capsys.readouterr().err
    assert resumed("stopped") == 5


def test_half_a_video_at_the_end_of_frames_bin_is_cut_off() -> None:
    with (interrupted("stopped") / "frames.bin").open("ab") as file:
        file.write(b"half a video")
    assert resumed("stopped") == 5


def test_a_torn_line_of_the_journal_is_dropped() -> None:
    journal = interrupted("stopped") / "journal"
    journal.write_bytes(journal.read_bytes()[:-20])
    assert resumed("stopped") == 4


def test_frames_lost_by_a_power_cut_are_made_again() -> None:
    frames = interrupted("stopped") / "frames.bin"
    content = bytearray(frames.read_bytes())
    content[4 * 192 + 5 * 192 :] = bytes(len(content) - 9 * 192)  # zeros from the third video on
    frames.write_bytes(content)
    assert resumed("stopped") == 2


def test_frames_bin_shorter_than_the_journal_promises_is_filled_again() -> None:
    with (interrupted("stopped") / "frames.bin").open("r+b") as file:
        file.truncate(3 * 192)
    assert resumed("stopped") == 0


def test_an_interrupted_run_with_other_options_is_not_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    interrupted("stopped", COUNTED.model_copy(update={"source": "elsewhere"}))
    assert resumed("stopped") == 0
    assert "starting over" in capsys.readouterr().err


def test_a_kill_while_test_videos_make_room_for_a_training_video_is_resumed() -> None:
    journal = interrupted_journal("stopped", ["v0", "v1", "v3", "v4", "v5", "v6", "v7"])  # v2 could not be read

    def render_v2_only(video: Video) -> np.ndarray:
        if video.id == "v8":
            raise KeyboardInterrupt
        return render(video)

    with pytest.raises(KeyboardInterrupt):
        build_store("stopped", COUNTED, VIDEOS, render=render_v2_only)
    assert [json.loads(line)[0] for line in journal.read_bytes().splitlines()[1:]] == ["v0", "v1", "v3", "v4", "v5", "v2"]
    done = build_store("stopped", COUNTED, VIDEOS, render=render)
    assert done.num_resumed == 6
    assert done.store.digest == build_store("whole", COUNTED, VIDEOS, render=render).store.digest


def test_frames_in_another_order_never_become_a_store() -> None:
    interrupted_journal("stopped", ["v0", "v1", "v6", "v2", "v3", "v4", "v5", "v7", "v8"])
    with pytest.raises(
        ValueError, match=r"stopped was not finished: .*test videos precede training videos; delete .*stopped and run again"
    ):
        build_store("stopped", COUNTED, VIDEOS, render=render)
    assert not (store_path("stopped") / "done.json").exists()


def interrupted_journal(name: str, ids: list[str]) -> Path:
    """What a run leaves that stored these videos in this order."""
    place, listed = store_path(name), by_id(VIDEOS)
    place.mkdir(parents=True)
    with closing(Journal(place, inputs_hash(COUNTED, listed, {}), 8 * 8 * 3, dict.fromkeys(listed, 0))) as journal:
        for video, outcome, frames in rendered_videos([listed[i] for i in ids], COUNTED, render):
            assert isinstance(outcome, Stored)
            journal.append(video.id, outcome, frames)
    return place / "journal"


def test_two_runs_of_one_name_at_once_are_refused() -> None:
    def render_nested(video: Video) -> np.ndarray:
        with pytest.raises(ValueError, match="another process is preparing twice"):
            build_store("twice", COUNTED, VIDEOS, render=render)
        return render(video)

    assert len(build_store("twice", COUNTED, VIDEOS, render=render_nested).store.train) == 6


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 videos of 100 frames: half a second of work."""
    folder = tmp_path_factory.mktemp("many")
    clip = write_video(folder / "clip.avi", 100, size=(96, 72))
    for name in ("a", "b"):
        copies(clip, folder / "train" / name, [f"{i:02d}.avi" for i in range(20)])
        copies(clip, folder / "test" / name, [f"{i:02d}.avi" for i in range(4)])
    return folder


SCRIPT = """
import sys
from pathlib import Path
from vddbench.data.prepare import prepare
try:
    prepare("many", folder=Path(sys.argv[1]), frames=8, size=32, stride=1, workers=2)
except KeyboardInterrupt:
    sys.exit(130)
except (OSError, ValueError) as error:
    sys.exit(f"refused: {error}")
"""


def started(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_videos(process: subprocess.Popen[str], count: int) -> None:
    journal, deadline = store_path("many") / "journal", time.monotonic() + 60
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > count):
        assert process.poll() is None and time.monotonic() < deadline, "the run ended before it could be stopped"
        time.sleep(0.002)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_killed_run_leaves_no_processes_and_resumes_to_the_same_digest(many: Path, tmp_path: Path) -> None:
    process = started(many)
    wait_for_videos(process, 4)
    assert len(members(process.pid)) >= 3  # the parent and two workers
    process.kill()
    process.communicate(timeout=30)  # waits for the workers, too, which have its stderr
    deadline = time.monotonic() + 20
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not members(process.pid)
    options = {"frames": 8, "size": 32, "stride": 1, "workers": 1}
    done = prepare("many", folder=many, **options)
    assert 4 <= done.num_resumed < 48
    assert done.store.digest == prepare("whole", folder=many, **options).store.digest


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_dead_worker_is_reported_with_the_videos_that_may_have_killed_it(many: Path) -> None:
    process = started(many)
    wait_for_videos(process, 4)
    workers = [pid for pid in members(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(workers[0], signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1 and "Traceback" not in said
    assert "refused: a decoding process died" in said and "/train/" in said
    assert not (store_path("many") / "parts").exists()
    assert prepare("many", folder=many, frames=8, size=32, stride=1, workers=1).num_resumed >= 4


@pytest.mark.long
def test_a_script_without_a_guard_can_prepare_and_its_workers_import_only_a_decoder(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom vddbench.data.prepare import prepare\nprint('script')\n"
        f"prepare('mine', folder=Path({str(folder)!r}), frames=8, size=16, stride=1, workers=2)\n"
    )
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    assert said == "script\n"  # workers would run it again
    heavy = "{'pydantic', 'pandas', 'rich', 'typer', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"import sys, vddbench.data.workers\nassert not {heavy}, {heavy}"], check=True)


@pytest.mark.long
def test_ctrl_c_in_a_terminal_ends_quietly_and_resumes(many: Path) -> None:
    process = started(many)
    wait_for_videos(process, 4)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers too
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "run the same command again to resume" in said and "Traceback" not in said
    assert prepare("many", folder=many, frames=8, size=32, stride=1, workers=1).num_resumed >= 4


# A full disk, an unwritable place


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 36 MB; prepare leaves 32 MB free."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=36m", "tmpfs", str(place)], check=False).returncode:
        pytest.skip("may not mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_stops_with_a_clear_error_and_resumes_elsewhere(
    many: Path, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VDDBENCH_HOME", str(small_disk / "home"))
    with pytest.raises(OSError, match=r"disk full while preparing many.*run the same command again to resume"):
        prepare("many", folder=many, **{**SMALL, "workers": 2})
    shutil.move(small_disk / "home", tmp_path / "larger")
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "larger"))
    assert prepare("many", folder=many, **SMALL).num_resumed > 0


def test_too_little_space_is_refused_before_anything_is_decoded(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDDBENCH_HOME", str(small_disk / "home"))
    spec = COUNTED.model_copy(update={"size": 512})
    with pytest.raises(OSError, match=r"MB free, at least 60 MB needed"):
        build_store("big", spec, VIDEOS, render=render)


def test_a_file_size_limit_is_a_full_disk_too(many: Path) -> None:
    limit = 3_000_000
    command = [sys.executable, "-c", SCRIPT, str(many)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert run.returncode == 1 and "disk full while preparing many" in run.stderr and "Traceback" not in run.stderr
    assert prepare("many", folder=many, **SMALL).num_resumed > 0


def test_an_unwritable_home_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(PermissionError, match=r"cannot write in .*set VDDBENCH_HOME to a folder you can write"):
        made("clips", folder)


# Usage, and hostile folders


def test_wrong_names_and_options_are_refused(folder: Path) -> None:
    with pytest.raises(LookupError, match=r"did you mean movingshapes\?"):
        prepare("movingshape")
    with pytest.raises(ValueError, match="movingshapes is a built-in dataset"):
        prepare("movingshapes", folder=folder)
    with pytest.raises(ValueError, match="--size, --student-steps: only with --folder"):
        prepare("movingshapes", size=32, student_steps=5)
    with pytest.raises(ValueError, match="give one of them"):
        prepare("clips", folder=folder, raw=folder)
    for name in ("../clips", "Clips", "", "a" * 41):
        with pytest.raises(ValueError, match="dataset name"):
            prepare(name, folder=folder)
    for option, value in (("frames", 0), ("size", 9999), ("stride", 0), ("stride", "often"), ("student_steps", 0)):
        with pytest.raises(ValueError, match="--" + option.replace("_", "-")):
            made("clips", folder, **{option: value})
    with pytest.raises(LookupError, match=r"no class in .* named 'lef'; did you mean left\?"):
        made("clips", folder, classes=["lef", "right"])
    with pytest.raises(ValueError, match="at least 2 are needed"):
        made("clips", folder, classes=["left"])
    assert not store_path("clips").exists()


def test_folders_of_another_layout_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*train; expected: DIR/train/<class>/.* holds no files"):
        read_folder(tmp_path)
    folder = write_folder(tmp_path / "clips", train=1)
    (folder / "test" / "up").mkdir()
    with pytest.raises(ValueError, match=r"in test/ but not in train/: up"):
        read_folder(folder)
    (folder / "train" / "up").mkdir()
    (folder / "train" / "up" / "a.mpg").touch()
    with pytest.raises(ValueError, match=r"no videos in .*train/up: looked for .avi, .*; .* holds 1 files: 1 .mpg"):
        read_folder(folder)
    shutil.rmtree(folder / "test")
    shutil.rmtree(folder / "train" / "up")
    (folder / "test").mkdir()
    with pytest.raises(ValueError, match="a score needs test videos"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"path;group\n", "first line is not: path,group"),
        (b"", "first line is not: path,group"),
        (b"path,group\ntrain/left/0.avi\n", "line 2 has 1 columns"),
        (b"path,group\ntrain/left/0.avi,a\ntrain/left/0.avi,b\n", "line 3 repeats"),
        (b"path,group\ntrain/left/9.avi,a\n", r"names 1 paths that are not videos of this folder: 'train/left/9.avi'"),
        (b"path,group\n../clips/train/left/0.avi,a\n", "are not videos of this folder"),
        (b"path,group\ntrain/../0.avi,a\n", "are not videos of this folder"),
        (b"path,group\n/etc/passwd,a\n", "are not videos of this folder"),
        (b"path,group\ntrain/left/0.avi," + b"a" * 201, "up to 200 printable"),
        (b"path,group\ntrain/left/0.avi," + b"a" * 200_000, "field larger"),
        (b"path,group\ntrain/left/\xff.avi,a\n", "utf-8"),
    ],
)
def test_a_wrong_groups_csv_is_refused(folder: Path, tmp_path: Path, content: bytes, reason: str) -> None:
    clips = shutil.copytree(folder, tmp_path / "clips")
    (clips / "groups.csv").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_folder(clips)


def test_a_video_that_is_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="names video v0 twice"):
        build_store("twins", COUNTED, [*VIDEOS, VIDEOS[0]], render=render)


def test_a_pinned_count_without_names_is_checked_too() -> None:
    spec = COUNTED.model_copy(update={"num_videos": {"train": 6, "test": 4}})
    with pytest.raises(ValueError, match="6 of 6 train videos, 3 of 4 test videos"):
        build_store("short", spec, VIDEOS, render=render)
    assert not store_path("short").exists()


def test_done_json_names_the_digest_of_all(folder: Path) -> None:
    store = made("clips", folder)
    done = json.loads((store.path / "done.json").read_text())
    assert done["digest"] == store.digest and (done["num_videos"], done["num_missing"]) == (12, 0)
