"""The training process: the only part of a node that uses private data and torch.

It reads jobs as JSON lines from stdin and writes progress as JSON lines to stdout. It can be killed
at any time; the next worker resumes from the last checkpoint. The daemon imports only `messages`
and `ending`.
"""
