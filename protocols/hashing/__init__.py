"""Which of several keeps a key: slots, rings, Maglev. No family owns them."""
