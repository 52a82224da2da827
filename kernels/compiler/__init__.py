"""From a cell's equations to the program and the source text every engine runs."""
