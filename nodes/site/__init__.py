"""The website that the web tier serves: what it stores, what it does, and how that looks."""
