"""The version of the package, and nothing else: whatever needs it imports no more than this."""

__version__ = "0.1.0"
