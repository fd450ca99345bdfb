"""Dagster ties the rooms together: landing, loading, modelling, checking, publishing."""
