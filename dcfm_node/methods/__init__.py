"""The methods, a folder each: `schedule` is what the swarm asks, `learner` trains and samples."""
