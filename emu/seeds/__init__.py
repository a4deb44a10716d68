"""Campaigns: what goes wrong in the simulated life of a seed, one such life, and many of them.

Nothing here is part of a simulated world (emu/sim/), which knows no seed but its own.
"""
