"""Bundled distillers, one readable file each. A baseline imports only `vddbench`'s public names."""
