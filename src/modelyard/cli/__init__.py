"""The `yard` command: server verbs start the server's parts, all others are the SDK's."""
