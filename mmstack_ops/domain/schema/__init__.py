"""The schema: the models of what an operator can declare, and the rules for declarations."""
