"""mypy checks every dataset, decoder, student and baseline against the Protocol of its kind."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vddbench.lookup import CONTRACTS, PACKAGES, Kind, load, missing_parts, names

ROOT = Path(__file__).parents[1]
WRONG = """
import torch
from vddbench.spec import ClipSet
def decode(tensors: dict[str, torch.Tensor], spec: int) -> ClipSet:
    raise NotImplementedError
"""


def contract_of(kind: Kind, name: str) -> str:
    """The dotted name of the Protocol that a file has all the parts of."""
    found = [
        f"{module}.{contract}"
        for module, contract in CONTRACTS[kind]
        if not missing_parts(load(kind, name), getattr(importlib.import_module(module), contract))
    ]
    assert len(found) == 1, (kind, name, found)
    return found[0]


@pytest.mark.long
def test_every_file_of_the_four_folders_fulfils_its_protocol_and_a_wrong_signature_is_found(tmp_path: Path) -> None:
    files = [(kind, f"{PACKAGES[kind]}.{name}", contract_of(kind, name)) for kind in PACKAGES for name in names(kind)]
    files.append(("decoder", "wrong", ".".join(CONTRACTS["decoder"][0])))
    lines = [f"import {module}, {contract.rpartition('.')[0]}" for _, module, contract in files]
    lines += [f"f{i}: {contract} = {module}" for i, (_, module, contract) in enumerate(files)]
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "every_file.py").write_text("\n".join(lines))
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", tmp_path / "every_file.py"]
    environment = {**os.environ, "MYPYPATH": str(tmp_path)}
    output = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False).stdout
    assert output.count(": error:") == 1 and 'Module "wrong" have conflicts' in output and len(files) > 20, output
