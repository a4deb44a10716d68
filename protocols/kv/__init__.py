"""The words of the sharded key-value store: its commands, its map, its records."""
