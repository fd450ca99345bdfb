"""How well the cross-sell score tells who buys in which new category next, beside peers on the same candidate pairs."""
