"""What a user can set: every group, how it is declared, read, checked. It imports nothing above it."""
