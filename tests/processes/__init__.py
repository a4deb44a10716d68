"""A second runner of nodes: each generation a child process with its own live Context, which it is
told about over MessagePack-RPC. Worker processes, and users' own, will stand on the same handle."""
