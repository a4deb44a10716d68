"""What an HTTP cache may keep and reuse, for whom, and how long: RFC 9111 and those beside it,
without I/O. Times are given, headers are pairs with lower-case names; where objects are kept is
nodes/cdn/'s.
"""
