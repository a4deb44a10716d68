"""What an operator does to a cluster that needs the supervisor: nodes that come and go with it.

All else that is done to one family is an RPC of that family.
"""
