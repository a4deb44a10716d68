"""What the clients kind runs, whatever tier it asks: what a workload is made of.

A workload says what comes next and does it; counting, recording and stopping are clients.py's. The
workloads themselves are their family's, and stand in its Kind.
"""

from nodes.workloads.base import Options, Setting, Workload

__all__ = ["Options", "Setting", "Workload"]
