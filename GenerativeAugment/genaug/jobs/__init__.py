"""Jobs: what is to be done, as a folder that any process can run and run again.

`schema` says what a job.json holds, `folder` builds one, `run` runs one, `events` is what it tells while it runs, and
`handlers` translates each kind into calls of the other rooms.
"""
