"""What the components of a pipeline call: stages and tools on artifacts instead of a project's folder."""
