"""The control API: one JSON request and one JSON answer over a Unix socket in the state folder."""
