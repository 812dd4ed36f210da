"""The only door: HTTP, one file a noun; `auth` decides, `errors` turns errors into statuses."""
