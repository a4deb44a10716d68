"""`python -m emu` is `emu`, which looks for no module in the current folder."""

import os
import sys

if __name__ == "__main__":  # the processes of `emu sim --jobs` import this module too
    if not sys.flags.safe_path and sys.path[0] != os.path.dirname(os.path.dirname(__file__)):
        del sys.path[0]
    from emu.cli import main

    main()
