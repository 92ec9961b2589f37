"""The programs of `scripts/bench`, which prepares everything that they need."""
