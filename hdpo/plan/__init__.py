"""Predicts what a study will cost: tokens, FLOPs, memory, disk and GPU-hours.

    shape     the model: parameters, FLOPs, bytes of key-value cache per token
    workload  what training and evaluating one run draws and trains on, and the assumptions behind it
    hardware  named devices and how well they are used
    memory    memory per GPU by component
    cost      seconds per phase, disk, the whole study, and the plan beside runs that have finished
    page      the plan as text

Every figure has three levels of cost: "low", "likely" and "high". At "low" all assumptions are at their cheap end
together, at "high" all at their expensive end. The levels bound the plan; they are no confidence interval.
"""
