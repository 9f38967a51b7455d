"""What every method learns with: cliffs, advantages and losses as pure functions, the teacher, the learner, the trainer."""
