"""The paper's figures and tables, each from one command, over the same `flow` as the worker's.

`task` poses a problem, `lab` trains what a method needs and remembers it, `methods` sample,
judges measure, `results` keep the rows, `tables` and `figures` show them. `costs` is an experiment
of its own kind.
"""
