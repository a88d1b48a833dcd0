"""A tier of volumes that are written from start to end: tapes with LTFS."""
