"""How well factorised and monolithic flows learn as data shrink and attributes grow
(arXiv:2402.01103).

`problems` has sums of effects with exact laws, `trial` the rows, `show` tables and the picture.
"""
