"""One file per dataset: `SPEC` and `videos(raw)`."""
