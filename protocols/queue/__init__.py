"""The words of the message queue: what clients and brokers say, and where a partition lives."""
