"""A storage tier on volumes that are written from start to end: tapes with LTFS."""
