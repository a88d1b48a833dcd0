"""The format of backups: writing, reading and checking them on a tier, whatever is in them."""
