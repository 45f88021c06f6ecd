"""Which law the samples of a composed flow have, and which corrector is worth its cost.

`problems` has composed laws in closed form and exact denoisers of coloured digits, `trial` the
rows, `show` the tables and the picture. The correctors are those of `flow.correcting`.
"""
