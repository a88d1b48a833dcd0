"""What watches: container events, failed runs."""
