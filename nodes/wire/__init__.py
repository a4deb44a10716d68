"""RPC and HTTP where they meet a stream, for servers and clients; no method has a meaning here."""
