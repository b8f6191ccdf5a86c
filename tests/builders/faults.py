"""Stops runs of `vddbench prepare`, and describes what they leave.

`python -m tests.builders.faults` imports once, forks, and kills its copies, so that a run can be killed at each of its steps.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet  # noqa: F401 - once, not in every copy

from tests.builders.videos import write_video
from vddbench.data.build import build_store
from vddbench.data.sources.folder import checked_spec
from vddbench.spec import Video
from vddbench.system import home as place

NAME = "clips"
MAIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup and the background jobs of scripts ignore it
from vddbench.commands.main import main
main()
"""
OPTIONS: dict[str, Any] = {"frames": 8, "size": 32, "stride": 1}
FILES = {"frames.bin", "index.parquet", "spec.json", "done.json", "problems.csv"}
STEPS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "fcntl.flock"}  # Python's audit events
SPEC = checked_spec(
    class_names=("a", "b"), frames=4, size=16, stride=1, resize=None, hflip_keeps_label=False,
    num_videos=None, validation_groups=(), student_steps={"1": 1}, source="", licence="",
)  # fmt: skip
VIDEOS = [Video(id=f"v{i}", path=None, label=i % 2, split="train" if i < 6 else "test") for i in range(9)]


def render(video: Video) -> np.ndarray:
    number = int(video.id[1:])
    return np.full((4 + number, 16, 16, 3), 10 * number, np.uint8)


def write_dozens(folder: Path) -> Path:
    """Writes 34 different videos of 40 to 73 frames, and two that can't be read."""
    for i in range(34):
        part = "test" if i % 8 > 5 else "train"
        write_video(folder / part / ("left", "right")[i % 2] / f"{i:02d}.avi", 40 + i, first=i)
    (folder / "train" / "left" / "empty.avi").touch()
    (folder / "test" / "right" / "text.avi").write_text("hello")
    return folder


def command(folder: Path, *more: str) -> list[str]:
    """The command `vddbench prepare clips` for a folder, with two workers."""
    options = [f"--{option}={value}" for option, value in {**OPTIONS, "folder": folder, "workers": 2}.items()]
    return [sys.executable, "-c", MAIN, "prepare", NAME, *options, *more]


def started(home: Path, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """Starts the command in a session of its own, so that its processes can be found; its stderr goes to `home`/said."""
    home.mkdir(exist_ok=True)
    with (home / "said").open("wb") as said:
        environment = {**os.environ, "VDDBENCH_HOME": str(home)}
        return subprocess.Popen(command(folder, *more), stderr=said, env=environment, start_new_session=True)


def finished(home: Path, folder: Path, *more: str) -> tuple[int, str]:
    """Runs the command; returns (exit status, stderr)."""
    code = started(home, folder, *more).wait(timeout=120)
    return code, (home / "said").read_text()


def members(session: int) -> set[int]:
    """The living processes of a session."""
    alive = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, owner = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it ended meanwhile
            continue
        if int(owner) == session and state != "Z":
            alive.add(int(stat.parent.name))
    return alive


def contents(home: Path) -> dict[str, str]:
    """File -> sha256, for everything in `prepared/` except locks."""
    root = home / "prepared"
    files = (path for path in sorted(root.rglob("*")) if path.suffix != ".lock")
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "" for p in files}


def listing(folder: Path) -> list[tuple[str, int, int, int]]:
    """The names, kinds, sizes and modification times of everything in a folder."""
    entries = ((str(path), path.lstat()) for path in sorted([folder, *folder.rglob("*")]))
    return [(path, status.st_mode, status.st_size, status.st_mtime_ns) for path, status in entries]


# The process that forks


def forked(run: Callable[[], object]) -> int:
    """Runs in a copy of this process; returns 0, -9 if it was killed, or 1 if it was refused, and then prints the error."""
    sys.stdout.flush()
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        run()
    except (OSError, ValueError) as error:
        print(json.dumps({"refused": str(error)}), flush=True)
        os._exit(1)
    os._exit(0)


def killed_at(step: int, root: str) -> None:
    """Kills this process before its step-th change of a file below `root`."""
    count = iter(range(1, 1 << 30))

    def watch(event: str, args: tuple[object, ...]) -> None:
        inside = any(isinstance(a, str | Path) and str(a).startswith(root) for a in args)
        inside |= event == "fcntl.flock" or (event in {"os.remove", "os.rmdir"} and args[1] != -1)  # of rmtree
        if event in STEPS and inside and next(count) == step:
            print(json.dumps({"killed": event, "file": Path(str(args[0])).name}), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def whole(force: bool = False) -> None:
    build_store(NAME, SPEC, VIDEOS, render=render, force=force)


def kills(root: Path, force: bool) -> None:
    """Kills a run before each of its steps in turn, then lets it finish; prints the contents of the store."""
    for step in range(1, 1000):
        home = root / str(step)
        os.environ["VDDBENCH_HOME"] = str(home)
        if force:
            forked(whole)

        def run(step: int = step, home: Path = home) -> None:
            killed_at(step, str(home))
            whole(force)

        code = forked(run)
        again = forked(lambda: whole(force))
        print(json.dumps({"step": step, "code": code, "again": again, "contents": contents(home)}), flush=True)
        if code == 0:
            return


def full_disks(root: Path) -> None:
    """Runs on disks of 1 to 25 pages of 4 KB, then makes room and resumes."""
    disk = root / "disk"
    for pages in range(1, 26):
        disk.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={4096 * pages}", "tmpfs", str(disk)], check=True)
        limited(disk, pages, lambda: None)
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        resumed(disk, pages)
        subprocess.run(["umount", str(disk)], check=True)


def limits(root: Path) -> None:
    """Runs with a limit of 1,500, 5,000, ... bytes for every file, then resumes without it."""
    for size in range(1500, 75_001, 3500):
        home = root / str(size)
        limited(home, size, lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)))
        resumed(home, size)


def limited(home: Path, size: int, limit: Callable[[], object]) -> None:
    os.environ["VDDBENCH_HOME"] = str(home)

    def run() -> None:
        limit()
        whole()

    print(json.dumps({"size": size, "code": forked(run)}), flush=True)


def resumed(home: Path, size: int) -> None:
    print(json.dumps({"size": size, "again": forked(whole), "contents": contents(home)}), flush=True)


if __name__ == "__main__":
    place.SPARE_BYTES = 0  # as when somebody else fills the disk after the last look at it
    kind, where = sys.argv[1], Path(sys.argv[2])
    {"kills": lambda: kills(where, False), "force": lambda: kills(where, True), "disks": lambda: full_disks(where),
     "limits": lambda: limits(where)}[kind]()  # fmt: skip
