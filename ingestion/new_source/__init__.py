"""Writes the skeleton of a source: looks at what a shop has, matches it with the canonical shapes, writes the files."""
