"""Checks of the machine that mmstack runs on, each with its remedy."""
