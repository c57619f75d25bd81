"""What goes wrong around zenwatch: a full volume, a webhook that never answers, a network that breaks, a person who edits."""
