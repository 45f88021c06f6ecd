"""The read-only page of a node, and what machines ask of it: a process of its own.

It asks the daemon over the control socket, so nothing that comes over HTTP reaches the daemon's
loop. Starlette, uvicorn and prometheus-client come with the extra `page`.
"""
