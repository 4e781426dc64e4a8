"""Many runs from one command: a sweep's plan, its batches, its sheets and its table."""
