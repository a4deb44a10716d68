"""The cache: nodes that keep values of the database for a while, and the client that asks them."""
