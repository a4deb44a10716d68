"""A running cluster: the supervisor of its nodes, who is meant by a target, faults, timelines.

No tier is known by name here, and nobody asks which of the two worlds it is.
"""
