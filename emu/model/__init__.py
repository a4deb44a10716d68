"""What a topology comes to once it was found valid: tiers, links, faults, expectations, problems.

Frozen data: nothing here reads YAML or runs anything.
"""
