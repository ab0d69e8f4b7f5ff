"""What kodeks_setup finds on a machine. `engines/` has one file an engine: its places, and the other side."""
