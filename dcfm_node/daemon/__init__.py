"""The daemon: one asyncio loop that carries events in and effects out. It never imports torch."""
