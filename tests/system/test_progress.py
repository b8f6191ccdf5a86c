"""What a log shows."""

from __future__ import annotations

import pytest

from vddbench.system import progress


def test_the_time_left_of_a_resumed_run_counts_only_its_own_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = progress.Bar(None, "run", 100, done=50)
    now = 20.0  # 10 steps of 2 s
    shown.advance(10, "loss 1")
    assert capsys.readouterr().err == "run 60/100 loss 1 (80 s left)\n"


def test_messages_obey_no_escape_codes_and_no_markup(capfd: pytest.CaptureFixture[str]) -> None:
    progress.say("a\x1b[2Jb [red]c[/red] " + "long " * 40)
    assert capfd.readouterr().err == "a\ufffd[2Jb [red]c[/red] " + "long " * 40 + "\n"
