"""An object store for tests: moto's S3 server behind MinIO's command line, ports and probes.

What moto leaves out and a backup or a credential check relies on is added here: requests must be
signed with the root user's key, and the content outlives the process (state.py).
"""
