"""`vddbench prepare NAME --hub OWNER/REPO[@revision]`: a store from a dataset repo at one commit.

prepared.py   the command: pins the commit and writes it into spec.json
videos.py     finds the dataset's videos in the repo, as files or in parquet
standins.py   empty files named like those of the repo; the dataset's rules for local files are then applied to them
files.py      video files, downloaded shortly before they are decoded
parquet.py    videos in parquet files, one row group at a time; shard.py: one parquet file
ahead.py      threads that fetch ahead and never delay Ctrl-C
"""
