"""Robots: plans as samples, made by a simulator or read from a robot's own recordings."""
