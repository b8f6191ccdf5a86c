"""One method per file. The file is the registration: `vddbench distill NAME` runs NAME.py.

A file meets the contract in vddbench/distillation/contract.py. It receives the train split and no other data, and reads neither
stores nor test videos. The static-dynamic methods share `_slots.py`; a file whose name begins with _ is not a method. Any file
may be changed, but the same seed must give the same bytes unless the change is meant to move scores.

A comment on a setting names its source: a paper, or a file of released code. "ours" marks choices of this project.
"""
