"""The paper's statements as small pure functions, and a table that says which of them hold.

A bandit stands in for one prompt: its arms are whole trajectories, so every expectation is a finite sum.
Everything is float64 NumPy. Letters used here besides the package's own:

    A  arms (trajectories)      D  features of a context      H  inputs of a hint

Symbols, with the names they have in code:

    π_ref  `ref_logp`      the reference policy, as log-probabilities       [A]
    R      `reward`        1.0 for a correct trajectory, 0.0 otherwise      [A]
    p      `success`       P_ref(R = 1)
    β      `beta`          weight of the KL penalty
    y*     `hint`          the privileged input

Logarithms are natural throughout: information is in nats unless a name says bits.
"""
