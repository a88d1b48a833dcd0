"""mmstack-ops: the operations control plane of a self-hosted multimodal LLM stack.

Four layers, each importing only downwards:

``cli`` → ``orchestration`` → ``adapters`` → ``domain``
"""

__version__ = "0.1.0"
