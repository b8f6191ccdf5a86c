"""Turns raw videos into prepared stores, which all other rooms read. Here, only `prepare` and the contact sheet use pixels.

prepare.py         `vddbench prepare`: chooses the source and the dataset
sources/           where videos come from: a folder, extracted frames, a repo on the Hub
datasets/          one file per built-in dataset; a new file is a new dataset
listing.py         compares the videos that a dataset's lists name with the files that exist; matching.py: by their names
build.py           writes a store, using store_folder.py, fill.py, journal.py and finish.py in this order
decode.py          decodes one video file; stored_frames.py: chooses and writes its frames; workers.py: their process pool;
                   container.py: detects truncated files
elementary.py      cuts an AV1 or H.264 stream of a submission into frames; stream_codec.py: decodes and encodes it; it
                   and decode.py are the only files that import PyAV; stream_process.py: decodes it in a child with limits
store.py           reads a prepared store; store_files.py: its index, spec and digest; frames_check.py: changed frames;
                   fingerprint.py: decides whether two stores hold the same data; hf_dataset.py: a split as a
                   Hugging Face dataset
nearest.py         finds the video that a clip resembles most, by thumbnails.py; near_copies.py: between test and train
pinned.py          compares stores and records of a built-in dataset with what is pinned about it
inventory.py       `vddbench datasets`, `datasets verify`; contact_sheet.py: `datasets show`

Names, messages and speed may change. Do not change what the stored bytes, digests and fingerprints depend on (frame choice,
scaling, order of columns, hashing): stores of different labs would no longer match.
"""
