"""One folder a store: all that is known of it, registered as its ``STORE``."""
