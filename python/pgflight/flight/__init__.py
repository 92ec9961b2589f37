"""Arrow Flight: the connection to a server, the commands, and one stream of rows."""
