"""The users of a site: they resolve its name, visit it, and remember what they were promised."""
