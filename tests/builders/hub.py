"""People on a Hub server."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.tools.hubserver import OWNER, OWNER_TOKEN, STRANGER_TOKEN, at, serving


@dataclass(frozen=True)
class Peer:
    """A server, and two users who can't write in each other's namespaces."""

    url: str
    user: str
    token: str
    other: str

    def api(self, *, other: bool = False) -> HfApi:
        return HfApi(endpoint=self.url, token=self.other if other else self.token)


@pytest.fixture(params=["ours", "yardstick"])
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Peer]:
    if request.param == "ours":
        with serving() as found, at(found.url, tmp_path / "hf"):
            yield Peer(found.url, OWNER, OWNER_TOKEN, STRANGER_TOKEN)
        return
    if not YARDSTICK.is_file():
        pytest.skip("there is no other server beside this checkout to compare with")
    if missing := [name for name in ("starlette", "uvicorn", "python_multipart") if find_spec(name) is None]:
        pytest.skip(f"the other server needs {', '.join(missing)}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, YARDSTICK, tmp_path / "yardstick", str(port)], stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(port)
        with at(url, tmp_path / "hf", "hf_test"):
            yield Peer(url, "tester", "hf_test", "hf_other")
    finally:
        process.terminate()
        process.wait()


YARDSTICK = Path(__file__).parents[2].parent / "shared/hub/hubserver.py"


def wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"nothing listens on port {port}")
