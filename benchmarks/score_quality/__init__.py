"""How well the cross-sell score predicts who buys in which new category next, compared with peers on the same pairs."""
