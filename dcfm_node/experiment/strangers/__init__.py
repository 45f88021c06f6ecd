"""Strangers' problems: small data sets that nobody tuned on, run through the defaults alone.

Each problem is made by a short generator and has an exact judge. `suite` lists them. `course` runs
one as nodes do, `show` says what was announced and what is true.
"""
