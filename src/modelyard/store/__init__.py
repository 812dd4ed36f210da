"""Memory: the database, blobs by digest and the spool."""
