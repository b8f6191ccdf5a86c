"""Where videos come from: source.py is the contract of a source; folder.py reads a user's folder, groups.py its groups.csv,
frames.py extracted frames, hub/ a dataset repo. A new source yields videos as files in a fixed order; it must not change labels
or splits.
"""
