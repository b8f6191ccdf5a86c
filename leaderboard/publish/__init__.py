"""Records, tables and the board on the Hub: `vddbench publish`.

publish.py              the steps, in an order that allows an interruption between any two
destination.py          the two repositories, and the check that `publish` may write there
local_files.py          records and manifests on this machine; the outbox of a machine without a network
contents.py             tables, cards and board, generated from everything that a results repo holds
planned_commits.py      commits that add what is missing and replace what changed
parquet.py              tables as `datasets` and the Hub's viewer read them; cards.py: both README.md, eval.yaml
"""
