"""What every picture shares: colours, style, saving."""
