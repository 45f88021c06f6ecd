"""`dcfm-node demo`: real node processes on loopback, watched until their student is judged.

`stage` lays out the folder, `nodes` starts and ends the processes, `progress` and `live` show them,
`evaluate` and `judge` score what came out, `report` and `picture` tell it. `run` ties them.
"""
