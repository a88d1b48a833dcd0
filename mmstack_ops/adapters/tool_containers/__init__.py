"""Containers that run one tool on a service's volumes, and their input and output."""
