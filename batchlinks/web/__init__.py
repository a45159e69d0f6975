"""The upload page: a patient list goes in by a browser or a call, links workbook and error report come out.

`server` is what `batchlinks serve` starts. Every check and every run is a process of its own (`worker`) that does what
the command does, so that the server neither grows with a list nor falls with it.
"""
