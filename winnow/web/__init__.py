"""What every server of Winnow does: its socket, its connections and their limits, and who may speak to it."""
