"""`python leaderboard/studies bench`: how fast this machine is.

students.py     the referee itself, against the bare networks
distillers.py   the baselines, against the straightforward steps of naive.py
layers.py       the convolutions of the ranked student, against products of matrices
gpu.py          both and CPU against GPU, for a few minutes of a GPU
preparing.py    from videos to clips: clips.py makes the videos, decoding.py, reads.py and memory.py measure,
                projection.py computes how long the real datasets will take

Nothing here makes records. Times depend on the machine, so tests check counts and never durations.
"""
