"""Pictures judged as they come: what is watched, what is said of it, and where that goes."""
