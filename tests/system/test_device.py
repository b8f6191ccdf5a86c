"""Commands that compute for hours name their device first, and a GPU that is there but not used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.builders.commands import call
from vddbench.system.device import chosen_device
from vddbench.system.gpus import listed_gpus

CPU = torch.device("cpu")


@pytest.fixture
def unused_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that lists a GPU and a PyTorch that cannot use it."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-0)'\n")
    smi.chmod(0o755)

    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nUpdate it.")

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.init", init)
    monkeypatch.setattr("torch.version.cuda", "13.0")


@pytest.mark.usefixtures("unused_gpu")
def test_a_gpu_that_pytorch_cannot_use_is_named_with_the_reason(capfd: pytest.CaptureFixture[str]) -> None:
    assert listed_gpus()[0].name == "NVIDIA A100-SXM4-80GB"
    assert chosen_device() == CPU
    said = capfd.readouterr().err
    assert "computing on the CPU" in said
    assert "a GPU (NVIDIA A100-SXM4-80GB) that PyTorch" in said and "driver on your system is too old" in said


@pytest.mark.usefixtures("unused_gpu")
@pytest.mark.parametrize("by_variable", [True, False])
def test_who_chose_the_cpu_is_not_warned(
    by_variable: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if by_variable:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    chosen_device(None if by_variable else CPU)
    assert "A100" not in capfd.readouterr().err


def test_a_gpu_that_fails_at_its_first_operation_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def ones(*args: object, **more: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be")

    monkeypatch.setattr("torch.ones", ones)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "Tesla K80")
    with pytest.raises(OSError, match=r"cuda:7 \(Tesla K80\) cannot compute: CUDA error: no kernel image .*--device"):
        chosen_device(torch.device("cuda:7"))


@pytest.mark.parametrize(
    ("options", "says"),
    [(["--device", "cuda:99"], "no device 'cuda:99' here"), (["--device", "cpu", "--cluster", "local"], "exclude")],
)
def test_evaluate_takes_a_device(options: list[str], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, output = call("evaluate", "nowhere", *options)
    assert code == 2 and says in output + capfd.readouterr().err
