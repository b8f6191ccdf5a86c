"""Where videos come from: source.py is the contract; folder.py, frames.py and hub/ are a user's folder, extracted frames and a
dataset repo. A new source gives videos as files in a fixed order; it must not change labels or splits.
"""
