"""The sharded key-value store: shards, coordinators, routers, moves of slots."""
