"""Records, tables and the board on the Hub: `vddbench publish`.

publish.py      the steps, in an order that may break off anywhere
target.py       where to, and whether it is ours
gather.py       what there is here, by its path in a results repo; the outbox of a machine without a network
made.py         tables, cards and the board of all that a results repo holds
planned.py      commits before they are made: what a repo lacks, what has changed
parquet.py      the tables as `datasets` and the Hub's viewer read them; cards.py: README of both repos, eval.yaml
"""
