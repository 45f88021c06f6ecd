"""The paper's figures and tables, each from one command, over the same `flow` as the worker's.

A domain shares its samples among silos, `lab` trains what a method needs and remembers it,
`methods` sample, the domain's evaluator measures, `results` keep the rows, `tables` and `figures`
show them. `costs` is an experiment of its own kind.
"""
