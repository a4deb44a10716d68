"""The replication core: a step in, what to do next out. It owns no disk, no socket and no clock.

replica.py is the whole and its manual: one state (state.py), and a role with a step of its own
(follower.py, candidate.py, primary.py), which the other files are the parts of.
"""
