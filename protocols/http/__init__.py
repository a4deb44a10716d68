"""HTTP/1.1: bytes in, messages out, whole or as they come."""
