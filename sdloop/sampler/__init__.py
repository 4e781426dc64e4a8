"""The sampler: a table of numbers, one row's arithmetic, and the walk over the rows."""
