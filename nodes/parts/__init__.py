"""Pieces that several families share, and only those: pools, health, back-off, metrics, timing.

What one family alone needs lives with it.
"""
