"""Networks: address conflicts, free subnets, orphans and reachability. No side effects."""
