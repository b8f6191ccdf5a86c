"""The results of an evaluation: a record and its predictions.

record.py       the fields of a record; a new one must be optional and left out when unused: old files keep their bytes
predictions.py  the answers on every test video, a safetensors file that is read without trusting it
fresh_seeds.py  seeds that neither the author of a set nor a maintainer can choose
files.py        names and paths, writing once, reading with every check

Records come from strangers: limit the bytes that are read, refuse with one clear line, and never let a record state a score
that its predictions do not give.
"""
