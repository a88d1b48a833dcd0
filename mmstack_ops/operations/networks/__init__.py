"""The stacks' networks: what is there, what is in the way, what nobody uses."""
