"""How fast a sampler converges that follows one drawn expert at each step (arXiv:2606.15835).

`mixtures` has problems with exact expert fields, `laws` the exact law of the switching sampler on
the line, `trial` the rows, `show` slopes, tables and the picture.
"""
