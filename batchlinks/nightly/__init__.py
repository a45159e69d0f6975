"""`batchlinks nightly`: every new roster in the inbox, once, results to the outbox."""
