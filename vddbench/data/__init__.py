"""From raw videos to prepared stores, which everything else reads. Only `prepare` and the contact sheet look at pixels.

prepare.py         `vddbench prepare`: which source and which dataset; sources/: a folder, extracted frames, a repo on the Hub
datasets/          one file per built-in dataset; a new file is a new dataset
listing.py         the videos that a dataset's lists name, compared with the files that exist
build.py           writes a store: store_folder.py, fill.py, journal.py, finish.py in the order of their use
decode.py          one video -> stored frames, the only door to PyAV; workers.py: its processes; container.py: is a file cut?
store.py           reads a prepared store; store_files.py: its index, spec and digest; fingerprint.py: is it the same data?
inventory.py       `vddbench datasets`, `datasets verify`; contact_sheet.py: `datasets show`

Names, messages and speed may change. What the stored bytes, digests and fingerprints depend on (frame choice, scaling, order
of columns, hashing) may not: stores of different labs would no longer match.
"""
