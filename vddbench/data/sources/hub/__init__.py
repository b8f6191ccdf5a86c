"""`vddbench prepare NAME --hub OWNER/REPO[@revision]`: a store from a dataset repo at one commit.

prepared.py   the command: pins the commit and writes it into spec.json
videos.py     which of the dataset's videos the repo has, as files or in parquet
standins.py   empty files with the repo's names, on which a dataset's own rules decide what exists, is missing or superfluous
files.py      video files, downloaded when their turn comes
parquet.py    videos in parquet files, one row group at a time; shard.py: one parquet file
ahead.py      threads that fetch ahead and never delay Ctrl-C
"""
