"""The methods, one folder each: `schedule` has the rules in the swarm, `learner` uses torch."""
