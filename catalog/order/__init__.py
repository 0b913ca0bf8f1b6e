"""Order of the elements of rows."""
