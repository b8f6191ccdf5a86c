"""Checks that only its owner can write to a run's folder, because jobs unpickle files from there."""

from __future__ import annotations

import os
import shlex
import stat
from contextlib import suppress
from pathlib import Path

from vddbench.cluster.jobs import Job
from vddbench.cluster.plan import Run


def private_folder(run: Run, job: Job) -> Path:
    """Creates the folder of the job's pickles, with mode 0700. Raises ValueError if others could replace a pickle in it."""
    check_private(run.path)
    check_parents(run.path)
    folder = run.path / "slurm"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        folder.chmod(0o700)  # a umask may have removed bits
    if folder.stat().st_uid != os.geteuid() or folder.stat().st_mode & 0o077:
        raise ValueError(f"{folder} holds files that your jobs run, and others have access to it: delete it, then submit again")
    return folder / str(job.number)


def check_private(path: Path) -> None:
    """Raises ValueError if other users can change the files of a run."""
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise ValueError(f"{path} belongs to another user, who can change what your jobs run: plan a run of your own")
    if status.st_mode & 0o022:  # with access control lists, the bits of the group show the most that a list grants
        raise ValueError(f"other users can write to {path} and change what your jobs run: chmod go-w {path}")


def check_parents(path: Path) -> None:
    """Raises ValueError if anybody can exchange the folder of a run for another one."""
    for parent in path.parents:
        if (mode := parent.stat().st_mode) & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise ValueError(
                f"anybody can write to {parent} and replace {path}, from which your jobs run files: chmod o-w {parent}"
            )


def refusal_on_the_node(run: Run) -> str:
    """A line of shell that ends the job, before anything is unpickled, if others have got access to the run's folder."""
    folders = shlex.join([str(run.path), str(run.path / "slurm")])
    others = f"$(find {folders} -maxdepth 0 '(' -perm /022 -o '!' -uid \"$(id -u)\" ')' 2>/dev/null)"
    return (
        f'if [ -n "{others}" ]; then echo "error: other users can write to the folder of this run:" {folders}'
        ' "; remove their access with chmod go-w, then: vddbench batch retry" >&2; exit 1; fi'
    )
