"""`python -m emu` is `emu`."""

from emu.cli import main

if __name__ == "__main__":  # the processes of `emu sim --jobs` import this module too
    main()
