"""Records, tables and the board on the Hugging Face Hub: `vddbench publish`.

publish.py              the steps, in an order that allows an interruption between any two
destination.py          the two repositories, and the check that `publish` may write there
local_files.py          records and manifests on this machine; outbox.py: a copy of them for a machine with a network
contents.py             tables, cards and board, generated from everything that a results repo contains
planned_commits.py      commits that add what is missing and replace what changed
parquet.py              tables as `datasets` and the Hub's viewer read them; cards.py: both README.md, eval.yaml;
                        columns.py: what the columns mean

Names of columns and paths in the repositories are public: others read them with `datasets` and `vddbench pull`.
"""
