"""A CDN's edge: an HTTP cache before an origin. What may be cached is protocols/caching/'s to say;
here is where objects are kept, who asks the origin, and what an operator does to them.
"""
