"""Language models: loading, tokens, shifting and masking.

Dimension letters: N sequences, L positions of a row, T completion tokens of a sequence, M completion tokens of all
sequences, D width, V vocabulary, U distinct prompts, H and H_kv query and key-value heads.
"""
