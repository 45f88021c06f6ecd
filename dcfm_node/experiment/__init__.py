"""The paper's figures and tables, each from one command: silos in one process, the worker's `flow`.

`task` poses a problem, `lab` trains what a method needs and remembers it, `methods` sample, `judges`
measure, `results` keep the rows, `tables` and `figures` show them.
"""
