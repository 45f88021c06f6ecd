"""Where the independence penalty (Eqs. 10 and 16 of DCFM) helps, and where it hurts.

`problems` poses problems with a dial from factors that add up to factors that multiply. `trial`
trains one model on pooled known data for each weight and place in t. `show` draws the map.
"""
