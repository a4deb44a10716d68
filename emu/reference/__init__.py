"""What emu knows, told from the code itself: `emu explain` and docs/reference. A sentence lives
beside what it describes (a Config's field, a Kind, a fault's docstring, EVENTS of a room, a
metric's help), never here."""
