"""The schema: what an operator may declare, and every rule a declaration must satisfy."""
