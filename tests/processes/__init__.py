"""Nodes in worker processes: by their handles, and in whole clusters."""
