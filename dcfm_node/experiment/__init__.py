"""Makes the paper's figures and tables, each with one command, with the same `flow` as the worker.

A domain shares its samples among silos. `lab` trains networks and stores them, `methods` sample,
the domain's evaluator measures, `results` keeps the rows, `tables` and `figures` show them.
`costs`, `strangers`, `penalty`, `switching`, `parity`, `algebra` and `factorised` are experiments
of other kinds.
"""
