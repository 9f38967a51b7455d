"""What every method learns with: cliffs, advantages, losses as pure functions, the teacher and the learner."""
