"""How results are put on a page: one table model, number formats, and the style of figures."""
