"""The training process: the only part of a node that touches private data and torch.

It reads jobs as JSON lines on stdin and tells progress as JSON lines on stdout. It can be killed at
any instant: the next one resumes from the last checkpoint. `messages` is all the daemon imports.
"""
