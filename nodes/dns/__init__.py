"""The DNS tier, authoritative for one zone, and the resolvers that ask it and remember.

Which address an asker gets is decided in steering.py and zone.py, pure; what a message is, in
protocols/dns.py.
"""
