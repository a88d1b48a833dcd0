"""Wipes on a real engine: looking, removing, and the journal of what went."""
