"""One file a subject: what is measured, and how."""
