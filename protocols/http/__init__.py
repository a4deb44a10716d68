"""HTTP/1.1: bytes in, events out. connection.py is the whole of it, plain.py the ordinary case."""
