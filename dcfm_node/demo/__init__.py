"""`dcfm-node demo`: real node processes on loopback, watched until their student is evaluated.

`stage` lays out the folder, `nodes` starts and ends the processes, `progress` and `live` show them,
`evaluate` measures what came out, `report` tells it. `run` ties them.
"""
