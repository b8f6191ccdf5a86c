"""`vddbench bench`: how fast this machine is. `students.py` the referee itself, `distillers.py` the baselines against the plain
steps of `naive.py`, `preparing.py` the way from videos to clips (with `clips.py`, `decoding.py`, `reads.py`, `memory.py` and
`projection.py`)."""
