"""Benchmarks: side by side with a peer in one run, medians, as ratios. Never tests."""
