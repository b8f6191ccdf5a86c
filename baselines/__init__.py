"""One method a file. The file is the registration: `vddbench distill NAME` runs NAME.py.

A file has what vddbench/distillation/contract.py demands, is given the train split and no other data, and reads neither stores
nor test videos. `_slots.py` is what the static-dynamic methods share; a name that begins with _ is no method. Any file may be
changed, but the same seed must give the same bytes unless the change is meant to move scores.
"""
