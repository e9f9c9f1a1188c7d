"""Script 13: report.html, tab by tab."""
