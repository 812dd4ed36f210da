"""What is done with the tables of others: read, profiled, compared, written. It runs in a process apart.

`modelyard.workers.clerk` starts that process and talks to it; nothing else imports Polars for a dataset.
"""
