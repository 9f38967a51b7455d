"""Names in figures: moved apart no further than they must be."""

import numpy as np
import pytest

from hdpo.render.labels import spread


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ([0.0, 5.0, 2.0], [0.0, 5.0, 2.0]),  # far enough apart: nothing moves
        ([3.0, 3.0, 3.0], [2.0, 3.0, 4.0]),  # around their mean
        ([1.0, 0.8, 9.0], [1.4, 0.4, 9.0]),  # order is kept, whoever is far stays
        ([], []),
    ],
)
def test_names_keep_a_gap_of_one(wanted, places):
    assert spread(np.array(wanted), 1.0) == pytest.approx(places)
