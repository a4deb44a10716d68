"""The message queue: brokers that keep topics in a replicated log, a front, and their clients."""
