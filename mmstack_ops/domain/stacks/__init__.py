"""Stacks: what should run, what runs, and the plan from one to the other."""
