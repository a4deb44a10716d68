"""The SQL database: SQLite as a replicated state machine, its rules, its clients."""
