"""Take, copy, verify, prove, restore, prune and export backups."""
