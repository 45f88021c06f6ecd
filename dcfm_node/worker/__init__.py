"""The training process: the only part of a node that touches private data and torch.

It reads jobs as JSON lines from stdin and writes progress as JSON lines to stdout. It can be killed
at any instant: the next one resumes from the last checkpoint. The daemon imports `messages` and
`ending` alone.
"""
