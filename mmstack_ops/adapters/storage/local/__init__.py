"""A storage tier in a folder of this machine."""
