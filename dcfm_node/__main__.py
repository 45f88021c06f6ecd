"""`python -m dcfm_node` is `dcfm-node`."""

import sys

if not sys.flags.safe_path:
    # What lies in the current folder, beside private data say, must not pass for a module.
    del sys.path[0]

from dcfm_node.cli.entry import main

main()
