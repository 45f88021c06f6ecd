"""Tables 3 and 4 of DCFM: the cost of every method.

`traffic` counts what real nodes send, `passes` what a training step evaluates, `timing` how long
it takes; `formulas` say what the paper and our nodes should need, `measure` makes the rows and
`show` sets them side by side.
"""
