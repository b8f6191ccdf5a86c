"""The commands of the studies refuse wrong options before they measure anything."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from vddbench.leaderboard.studies.__main__ import main, studies


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["bench", "--distillers", "--prepare"], "several benchmarks: give one of them"),
        (["bench", "--rehearse"], "--rehearse needs --gpu"),
        (["bench", "--keep", "videos"], "--keep needs --prepare"),
        (["lr", "convnet3d", "--task", "tiny-ipc1", "--rates", "0.1;0.2"], "numbers with commas between"),
        (["lr", "convnet3d", "--task", "tiny-ipc3"], "ipc 3 is not a budget of this benchmark"),
    ],
)
def test_wrong_options_are_refused(command: list[str], message: str) -> None:
    result = CliRunner().invoke(studies, command)
    assert result.exit_code == 2 and message in " ".join(result.output.replace("│", "").split())


def test_a_mistake_in_the_data_is_one_message(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["studies", "precision", "submissions/none"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1 and capfd.readouterr().err.startswith("error: no submission at submissions/none")
