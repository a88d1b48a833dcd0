"""Stacks: the desired state, the observed state, and the plan from one to the other."""
