"""Scores with their intervals, their figures, and the leaderboard."""
