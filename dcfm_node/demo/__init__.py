"""`dcfm-node demo`: real node processes on loopback, watched until their student is evaluated.

`stage` lays out the folder, `nodes` starts and ends the processes, `progress` and `live` show them,
`evaluate` measures the models, `report` writes the report. `run` connects them.
"""
