"""Many runs of one command: a sweep's plan, its batches, its sheets and its table."""
