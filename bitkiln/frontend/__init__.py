"""From the user's files (models, weights, samples, project.toml) to Graphs, and the verbs of the command line."""
