"""Settings that are read without importing a file are those that importing it gives."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from vddbench.leaderboard import methods
from vddbench.leaderboard.source_parts import parts_of
from vddbench.lookup import file_of, load, names


@pytest.mark.parametrize("name", names("baseline"))
def test_the_facts_of_every_baseline_are_those_of_its_module(name: str) -> None:
    parts, module = (
        parts_of(file_of("baseline", name), "DECODER", "PAPER", "ABOUT", "Config", "PRESETS"),
        load("baseline", name),
    )
    assert (parts.DECODER, parts.PAPER, asdict(parts.ABOUT)) == (module.DECODER, module.PAPER, asdict(module.ABOUT))
    assert asdict(parts.Config()) == asdict(module.Config())
    presets = getattr(module, "PRESETS", {})
    assert {preset: asdict(config) for preset, config in getattr(parts, "PRESETS", {}).items()} == {
        preset: asdict(config) for preset, config in presets.items()
    }
    assert methods.by_facts(parts) == methods.by_facts(module)


SOURCE = """
import package_that_does_not_exist
SIZE = 3
def double(n): return 2 * n
class Settings:
    first: package_that_does_not_exist.Type = double(SIZE)
    @property
    def second(self): return self.first + OFFSET
    def third(self): return package_that_does_not_exist.value
OFFSET = 1
TABLE = {"a": SIZE}
TABLE["b"] = OFFSET
"""


def parts(tmp_path: Path, *wanted: str) -> Any:
    (tmp_path / "file.py").write_text(SOURCE)
    return parts_of(tmp_path / "file.py", *wanted)


def test_only_what_the_names_need_runs(tmp_path: Path) -> None:
    read = parts(tmp_path, "Settings", "TABLE", "absent")
    assert (read.Settings().first, read.Settings().second, read.TABLE) == (6, 7, {"a": 3, "b": 1})
    assert not hasattr(read, "absent") and not hasattr(read, "OFFSET")


def test_a_needed_package_that_is_not_installed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="package_that_does_not_exist"):
        parts(tmp_path, "package_that_does_not_exist")
