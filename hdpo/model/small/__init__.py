"""A decoder that is fast on a CPU at the size of the small world. Only `hdpo.model.loading` names it."""
