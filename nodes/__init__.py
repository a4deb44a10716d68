"""The tiers: programs that see only their Context (base.py). kinds.py is the table of them."""
