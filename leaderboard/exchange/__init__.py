"""Exchange of distilled sets and records between people, by pull requests on a results repo of the Hub.

submit.py            an author uploads a set and proposes its records; upload_plan.py: what both repos lack of them;
                     card.py: the files and README of the set's repo
proposal.py          what a pull request changes; ownership.py: which names, cells and re-runs it may use
verify.py            a maintainer checks, trains on fresh seeds (draw.py) and compares; merge.py: merges what was verified
reproduce.py         anybody trains the student of a record again; rerun.py: own runs in a private folder, and the comparison
model_repo.py        a trained student as a model repo
mirror.py            a results repo and its copy on disk (`vddbench pull`); payload_download.py: distilled sets

Everything that is read here may come from a stranger: bound its size, refuse unknown forms, never run or trust it.
"""
