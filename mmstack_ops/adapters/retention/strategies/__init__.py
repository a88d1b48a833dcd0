"""One file for each strategy of retention."""
