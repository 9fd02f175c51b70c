"""Whether a registered version may become the champion: tables and numbers in, a decision with its reasons out."""
