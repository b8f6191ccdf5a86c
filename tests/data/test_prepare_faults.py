"""`vddbench prepare` is killed, fills the disk, meets another one: the finished store is that of an undisturbed run, byte for
byte. `pytest -m slow tests/data/test_prepare_faults.py -s` is the long campaign, and prints how often each fault was tried.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.builders.faults import FILES, NAME, OPTIONS, contents, finished, listing, members, started, write_dozens
from vddbench.data.prepare import prepare

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
MAY_MOUNT = os.geteuid() == 0 and shutil.which("mount") is not None and shutil.which("unshare") is not None


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    folder: Path
    home: Path
    contents: dict[str, str]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    root = tmp_path_factory.mktemp("undisturbed")
    folder, home = write_dozens(root / "dozens"), root / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VDDBENCH_HOME", str(home))
        assert sum(prepare(NAME, folder=folder, **OPTIONS, workers=1).problems.values()) == 2
    found = contents(home)
    assert set(found) == {NAME, *(f"{NAME}/{file}" for file in FILES)}
    return Undisturbed(folder=folder, home=home, contents=found)


# Stopped at random moments


def stage(home: Path) -> str:
    """How far a run has come, by its files."""
    rebuilding, place = home / "prepared" / f".{NAME}.force", home / "prepared" / NAME
    building = rebuilding if rebuilding.is_dir() else place
    journal = building / "journal"
    with suppress(OSError):  # it goes on meanwhile
        count = journal.read_bytes().count(b"\n") - 1
        return "before decoding" if count < 1 else "decoding" if count < 34 else "writing the index"
    return "start-up" if not building.is_dir() or (building == place and (place / "done.json").is_file()) else "between steps"


def workers_of(run: subprocess.Popen[bytes]) -> list[int]:
    found = []
    for pid in members(run.pid) - {run.pid}:
        with suppress(OSError):  # it ended meanwhile
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def stopped(run: subprocess.Popen[bytes], how: str, home: Path) -> str:
    """kill: SIGKILL to the parent; term, int: these; ctrl-c: SIGINT to all, as a terminal does; worker: SIGKILL to one, as soon
    as there is one. Returns the stage at which.
    """
    workers: list[int] = []
    while how == "worker" and run.poll() is None and not workers:
        workers = workers_of(run)
    at = stage(home)
    with suppress(ProcessLookupError):  # it ended meanwhile
        if how == "ctrl-c":
            os.killpg(run.pid, signal.SIGINT)
        elif workers:
            os.kill(workers[0], signal.SIGKILL)
        elif how != "worker":
            os.kill(run.pid, {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}[how])
    return at


def wait_for_lines(run: subprocess.Popen[bytes], home: Path, count: int) -> None:
    journals = [home / "prepared" / place / "journal" for place in (NAME, f".{NAME}.force")]
    while run.poll() is None:
        with suppress(OSError):  # it is not there yet, or not any more
            if any(journal.read_bytes().count(b"\n") >= count for journal in journals if journal.is_file()):
                return
        time.sleep(0.002)


def campaign(undisturbed: Undisturbed, root: Path, how: str, times: int, seed: int, force: bool = False) -> Counter[str]:
    """Stops runs at random moments - of the time, or of the journal's 35 lines -, sometimes two in a row, and lets each store
    be finished. Counts at what stages; a run that
    was at its end before is counted, but not as one of the `times`.
    """
    random_moment = random.Random(seed)
    more, first = ("--force",) if force else (), root / f"{how}{force}"
    if force:
        shutil.copytree(undisturbed.home, first)
    begun = time.monotonic()
    assert finished(first, undisturbed.folder, *more)[0] == 0 and contents(first) == undisturbed.contents
    seconds = time.monotonic() - begun
    stages: Counter[str] = Counter()
    for attempt in range(4 * times):
        home = root / f"{how}{attempt}"
        if force:
            shutil.copytree(undisturbed.home, home)
        for _ in range(random_moment.choice((1, 1, 2))):
            run = started(home, undisturbed.folder, *more)
            if random_moment.random() < 0.3:
                time.sleep(random_moment.uniform(0, seconds))
            else:  # Python's start takes most of the time
                wait_for_lines(run, home, random_moment.randrange(36))
                time.sleep(random_moment.uniform(0, 0.1))
            at = stopped(run, how, home)
            code = run.wait(timeout=60)
            check_gone(run.pid)
            said = (home / "said").read_text()
            stages["after its end" if code == 0 else at] += 1
            assert "Traceback" not in said or how == "kill" or at == "start-up", said  # Ctrl-C while Python imports
        code, said = finished(home, undisturbed.folder, *more)
        assert code == 0, said
        assert contents(home) == undisturbed.contents, (how, attempt, stages)
        shutil.rmtree(home)
        if stages.total() - stages["after its end"] >= times:
            return stages
    raise AssertionError(f"runs end before they can be stopped: {stages}")


def check_gone(session: int) -> None:
    """No process of a stopped run is left, soon."""
    deadline = time.monotonic() + 20
    while (left := members(session)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left, "workers outlive their parent"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "times", "force"),
    [
        ("kill", 30, False), ("kill", 25, True), ("worker", 8, False), ("term", 8, False), ("int", 8, False),
        ("ctrl-c", 8, False),
    ],
)  # fmt: skip
def test_stops_at_random_moments_leave_the_same_bytes(
    undisturbed: Undisturbed, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str, times: int, force: bool
) -> None:
    before = listing(undisturbed.folder)
    stages = campaign(undisturbed, tmp_path, how, times, times, force)
    assert listing(undisturbed.folder) == before
    tried = stages.total() - stages["after its end"]
    assert tried >= times
    assert how != "kill" or len(set(stages) - {"after its end"}) >= 3, "the moments miss most of the run"
    with capsys.disabled():
        name = f"{how} --force" if force else how
        print(f"\n{name}: {tried} times, each time the same bytes and nothing left over: {dict(stages)}", flush=True)


# Stopped at each step, and by each size of disk: tests/builders/faults.py


def reported(kind: str, root: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.builders.faults", kind, str(root)]
    if kind == "disks":
        command = ["unshare", "--mount", *command]  # its disks are gone with it
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.mark.long
@pytest.mark.parametrize(("kind", "least"), [("kills", 30), ("force", 30)])
def test_a_run_killed_at_each_of_its_steps_is_resumed_to_the_same_bytes(tmp_path: Path, kind: str, least: int) -> None:
    rows = reported(kind, tmp_path)
    steps = [row for row in rows if "step" in row]
    assert [row["code"] for row in steps] == [-signal.SIGKILL] * (len(steps) - 1) + [0] and len(steps) > least
    whole = steps[-1]["contents"]
    assert set(whole) == {NAME, *(f"{NAME}/{file}" for file in FILES)}
    assert [(row["step"], row["again"]) for row in steps if row["again"] != 0 or row["contents"] != whole] == []
    killed = {(row["killed"], row["file"].split(".part")[0].rpartition(".")[0]) for row in rows if "killed" in row}
    assert {("open", ".done.json"), ("os.rename", ".done.json"), ("os.rename", ".index.parquet")} <= killed
    swaps = {row["file"] for row in rows if row.get("killed") == "os.rename"}
    assert ({NAME, f".{NAME}.force"} <= swaps) == (kind == "force")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["disks", "limits"])
def test_a_disk_full_at_any_size_is_reported_and_resumes_to_the_same_bytes(tmp_path: Path, kind: str) -> None:
    if kind == "disks" and not MAY_MOUNT:
        pytest.skip("may not mount a small disk")
    rows = reported(kind, tmp_path)
    refusals = [row["refused"] for row in rows if "refused" in row]
    assert len(refusals) == sum(row["code"] == 1 for row in rows if "code" in row) >= 8
    assert all("disk full while preparing clips" in r and "run the same command again to resume" in r for r in refusals)
    again = [row for row in rows if "again" in row]
    assert {row["code"] for row in rows if "code" in row} == {0, 1}, "some disks were large enough, none killed it"
    assert {row["again"] for row in again} == {0} and all(row["contents"] == again[-1]["contents"] for row in again)
    assert set(again[-1]["contents"]) == {NAME, *(f"{NAME}/{file}" for file in FILES)}


# Two at once


def wait_for_videos(run: subprocess.Popen[bytes], journal: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > count):
        assert run.poll() is None and time.monotonic() < deadline, "the run ended before it could be stopped"
        time.sleep(0.002)


@pytest.mark.parametrize("force", [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=pytest.mark.long)])
def test_a_second_run_beside_another_is_refused_and_resumes_when_that_was_killed(
    undisturbed: Undisturbed, tmp_path: Path, force: bool
) -> None:
    home, more, before = tmp_path / "home", ["--force"] if force else [], listing(undisturbed.folder)
    if force:
        shutil.copytree(undisturbed.home, home)
    building = home / "prepared" / (f".{NAME}.force" if force else NAME)
    first = started(home, undisturbed.folder, *more)
    wait_for_videos(first, building / "journal", 2)
    os.kill(first.pid, signal.SIGSTOP)
    code, said = finished(home, undisturbed.folder)
    assert code == 1 and "another process is preparing clips; wait until it is done" in said
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    if force:
        code, said = finished(home, undisturbed.folder)  # the old store is whole
        assert code == 0 and "was already prepared" in said
        assert f"an interrupted run with --force is in {building}: resume it with --force, or delete it" in said
    code, said = finished(home, undisturbed.folder, *more)  # without force at once, beside the first one's last workers
    assert code == 0 and "resuming: " in said
    check_gone(first.pid)
    assert contents(home) == undisturbed.contents and listing(undisturbed.folder) == before, "the videos were written to"


# Places that can't be written or read


@pytest.fixture
def read_only(undisturbed: Undisturbed, tmp_path: Path) -> Iterator[Path]:
    """The folder of videos, mounted read-only."""
    if not MAY_MOUNT:
        pytest.skip("may not mount a folder read-only")
    place = tmp_path / "read only"
    place.mkdir()
    subprocess.run(["mount", "--bind", str(undisturbed.folder), str(place)], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_videos_on_a_read_only_disk_are_prepared_and_a_read_only_home_is_reported(
    undisturbed: Undisturbed, read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match="Read-only"):
        (read_only / "train" / "new").touch()
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "home"))
    prepare(NAME, folder=read_only, **OPTIONS, workers=1)
    whole, problems = contents(tmp_path / "home"), f"{NAME}/problems.csv"
    assert {**whole, problems: ""} == {**undisturbed.contents, problems: ""}  # which names the files by their paths
    monkeypatch.setenv("VDDBENCH_HOME", str(read_only / "home"))
    with pytest.raises(PermissionError, match=r"cannot write in .*Read-only file system.*set VDDBENCH_HOME to a folder"):
        prepare(NAME, folder=undisturbed.folder)
