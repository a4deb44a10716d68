"""Workers: what takes jobs from work queues, does them, and says what became of each."""
