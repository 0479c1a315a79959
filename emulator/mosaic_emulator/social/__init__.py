"""Social posts: publishing, analytics, comments."""
