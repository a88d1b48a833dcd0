"""An HTTP front over qdrant-edge, Qdrant's storage engine, for where Qdrant itself can't be had.

It speaks the part of Qdrant's REST API that clients and backups use; docs/lab.md lists it. What it
does not offer it answers with 501, never with a made-up success.
"""
