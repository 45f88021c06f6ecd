"""Domains: how samples are loaded, split, drawn and evaluated."""
