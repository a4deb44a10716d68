"""The live world: real sockets, real files, real time. No other room knows of them."""
