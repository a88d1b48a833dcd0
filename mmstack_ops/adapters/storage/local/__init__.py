"""A tier that is a folder of this machine."""
