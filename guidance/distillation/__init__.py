"""One loop with five choices: objective, time schedule, noise policy, generator, regularizers."""
