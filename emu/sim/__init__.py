"""The simulated world: a heap of events, seeds, campaigns. No real time, sockets or files."""
