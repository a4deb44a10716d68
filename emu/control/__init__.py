"""The control socket, both ends: what a command asks of a running cluster."""
