"""`vddbench prepare NAME --hub OWNER/REPO[@revision]`: a store from a dataset repo, at one commit.

prepared.py   the command: pins the commit, says which one in spec.json
videos.py     which of the dataset's videos the repo has, as files or in parquet
standins.py   empty files by the repo's names, so that a dataset's own rules decide what is there, missing or too much
files.py      video files, downloaded as their turns come
parquet.py    videos in parquet files, a row group at a time
shard.py      one parquet file, of which only parts are here; pages.py: what it would unpack to
ahead.py      threads that fetch ahead and never hold up Ctrl-C
"""
