"""The parts of every measurement: the data, the ways to write it, PostgreSQL, the server, and clients as processes."""
