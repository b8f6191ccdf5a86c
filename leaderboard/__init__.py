"""Records -> ranks -> tables. Reads records and their predictions only; never imports torch."""
