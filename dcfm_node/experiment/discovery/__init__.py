"""Whether factors that are found without labels are those that people name.

`trial` finds factors of coloured digits and recombines them, `measures` compares them with digit
and colour, `show` writes the table and the picture. The method is `flow.discovery`.
"""
