"""Pictures that stand still, and the table of the steps."""
