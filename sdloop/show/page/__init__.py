"""The page: one HTML file to scrub through."""
