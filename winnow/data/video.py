"""Frames of a video at the size and the times wanted, decoded forward and scaled only where wanted."""

from __future__ import annotations

VIDEO_SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".ts", ".mts",
    ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".ogm", ".mxf", ".dv", ".y4m", ".gif",
))
"""Suffixes, in lower case, of the files read as videos (animated GIFs among them)."""
