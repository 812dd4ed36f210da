"""The line: a request comes in, is routed, decoded, batched, answered by a worker and written to the spool.

Nothing here knows a database: `modelyard.app` hands in what is needed.
"""
