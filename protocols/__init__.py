"""What is on the wire and on the disk, and what it means. No I/O, no clock, no randomness."""
