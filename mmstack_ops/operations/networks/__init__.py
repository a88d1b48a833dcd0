"""The networks of the stacks: their state, conflicts and unused networks."""
