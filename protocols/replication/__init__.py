"""The replication core: a step in, what to do next out. It owns no disk, no socket and no clock."""
