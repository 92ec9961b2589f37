"""What every measurement needs: the data, the ways to write it, PostgreSQL, the server, and clients as processes."""
