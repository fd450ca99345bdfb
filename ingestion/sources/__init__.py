"""One module per source; the module's name is the source's name everywhere (docs/decisions.md, D5)."""
