"""Chest radiographs (section 6.3 of DCFM): rare findings that occur together."""
