"""The package's description and addresses, as PyPI shows them."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    """The names of hatch_build.py."""
    pytest.importorskip("hatchling")
    return runpy.run_path(str(ROOT / "hatch_build.py"))


def test_links_to_files_become_absolute_or_plain_and_the_files_exist(build: dict[str, Any]) -> None:
    readme = (ROOT / "README.md").read_text()
    paths = [link["path"] for link in build["LINK"].finditer(readme)]
    assert len(paths) > 10 and all((ROOT / path.partition("#")[0]).is_file() for path in paths)
    linked, plain = (build["absolute"](readme, address) for address in ("https://github.com/ORG/vddbench", ""))
    assert "](https://github.com/ORG/vddbench/blob/main/CONTRIBUTING.md#tests)" in linked
    assert "](https://github.com/ORG/vddbench/raw/main/docs/demo.gif)" in linked
    for text in (linked, plain):
        assert build["LINK"].search(text) is None


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@github.com:ORG/vddbench.git", "https://github.com/ORG/vddbench"),
        ("https://user:ghp_secret@github.com/ORG/vddbench.git", "https://github.com/ORG/vddbench"),
        ("https://evil.example/github.com/ORG/vddbench", ""),
        ("/srv/git/vddbench.git", ""),
        ("", ""),
    ],
)
def test_the_address_is_that_of_the_clones_origin_without_a_token(
    build: dict[str, Any], tmp_path: Path, remote: str, address: str
) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    if remote:
        subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", remote], check=True)
    assert build["address_in"](tmp_path) == address
    (tmp_path / "PKG-INFO").write_text(
        "Name: x\nProject-URL: Issues, https://a/issues\nProject-URL: Repository, https://a\n\nText"
    )
    assert build["address_in"](tmp_path) == "https://a"  # a source archive
