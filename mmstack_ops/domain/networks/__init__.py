"""Networks: who else has their addresses, and which are free. No side effects."""
