"""Follows one user through an audience's models and names the step that decided."""
