"""A model's name -> files that were found and checked -> networks."""
