"""`python -m emu` is `emu`."""

from emu.cli import main

main()
