"""`python -m dcfm_node` is `dcfm-node`."""

from dcfm_node.cli.main import main

main()
