"""Whether experts of separate silos, mixed by a learnt router, model text as well as one network of
all texts at equal compute (arXiv 2601.03184).

`corpus` has the texts and clusters them. `trial` trains and measures. `show` draws tables.
"""
