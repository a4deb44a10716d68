"""The driver of the replication core: its log on a disk, its messages on the wire, its snapshots.

What the records mean is for the family that brings a state machine.
"""
