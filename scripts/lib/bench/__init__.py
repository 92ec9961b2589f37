"""What `scripts/bench` runs, once it has made everything that this needs."""
