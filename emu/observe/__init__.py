"""What people look at: metrics of the emulator, discovery, the live page, reports, diagrams.

It reads what is told by others; nothing here acts on a cluster.
"""
