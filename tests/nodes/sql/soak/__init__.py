"""Generated SQL against plain SQLite: a generator, three copies that replicate, and a judge."""
