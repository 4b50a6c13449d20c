"""Taking over from another agent: one file per agent reads its state, `position` has what they all give, `disk` finds the files."""
