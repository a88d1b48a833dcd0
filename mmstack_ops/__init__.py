"""mmstack-ops: the operations control plane of a self-hosted multimodal LLM stack.

Five layers and the format of backups, each importing only downwards:

``cli`` → ``orchestration`` → ``operations`` → ``adapters`` → ``artifacts`` → ``domain``
"""

__version__ = "0.1.0"
