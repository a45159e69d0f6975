"""What batchlinks costs and how fast it is, beside its peers, measured in the same run on the same computer.

`make bench` runs all of it in about a quarter of an hour, `make bench ONLY=pace` a part. Results go to
`benchmarks/results.json`, into the tables of `docs/performance.md` and into `docs/pictures/performance.svg`. It talks to a
stand-in on this computer only.
"""
