"""A cached file is made once, also by several processes, and a killed process blocks nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from vddbench.system.cache import cached

MAKER = """
import sys
from pathlib import Path
from vddbench.system.cache import cached
def make():
    print("makes", flush=True)
    sys.stdin.readline()
    return b"content"
print(cached(Path(sys.argv[1]), make).read_bytes())
"""


def maker(path: Path) -> subprocess.Popen[str]:
    """A process that makes the file once it reads a line."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", MAKER, str(path)], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_two_processes_make_a_file_once_and_the_second_reports_that_it_waits(tmp_path: Path) -> None:
    first = maker(tmp_path / "x")
    assert first.stdout is not None and first.stdout.readline() == "makes\n"
    second = maker(tmp_path / "x")
    assert second.stderr is not None and "waiting for it" in second.stderr.readline()
    assert first.communicate("go\n", timeout=60)[0] == "b'content'\n"
    assert second.communicate(timeout=60)[0] == "b'content'\n"  # it made nothing


def test_a_killed_maker_leaves_nothing_and_the_next_one_makes_the_file(tmp_path: Path) -> None:
    first = maker(tmp_path / "x")
    assert first.stdout is not None and first.stdout.readline() == "makes\n"
    first.kill()
    first.communicate(timeout=60)
    assert not (tmp_path / "x").exists()
    assert cached(tmp_path / "x", lambda: b"again").read_bytes() == b"again"
