"""Assets: uploads and avatar profiles."""
