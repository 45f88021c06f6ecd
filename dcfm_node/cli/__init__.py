"""The command line. It loads nothing heavy before a command needs it, and no torch to answer."""
