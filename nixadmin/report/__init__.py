"""Everything that a person or a program reads: plans, tables, diffs, progress, JSON."""
