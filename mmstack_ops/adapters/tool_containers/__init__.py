"""Containers that run one tool on a service's volumes, and what passes in and out of them."""
