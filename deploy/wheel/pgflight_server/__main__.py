"""`python -m pgflight_server` is the command `pgflight`."""

from pgflight_server import main

main()
