"""`.eval_results/*.yaml` of a model repo: scores that the Hub shows on the model's page and in a benchmark's leaderboard."""

from __future__ import annotations

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml


def eval_results(benchmark: str, task: str, value: float, date: str, source: tuple[str, str], notes: str) -> bytes:
    """The file with one score.

    benchmark: the dataset repo whose eval.yaml lists the task. source: address and name of what the score was read from.
    """
    url, name = source
    entry = EvalResultEntry(benchmark, task, value, date=date, source_url=url, source_name=name, notes=notes)
    return yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, width=1000).encode()
