"""One emulated machine and its wires, the same in both worlds: clock, cpu, disk, links, lives.

Nothing here knows how many machines there are, or what runs on them.
"""
