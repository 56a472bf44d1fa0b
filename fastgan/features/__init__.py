"""The networks whose features the metrics compare."""
