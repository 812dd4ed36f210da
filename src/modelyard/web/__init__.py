"""The pages: templates and static files over the same catalogue, store and serving that the API uses."""
