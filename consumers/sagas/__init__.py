"""Sagas: processes over many streams that end completed or compensated, whatever fails and whoever restarts.

`definition` says what a saga does, `facts` what its stream keeps, `state` folds them, `advance` decides what follows.
`route` brings events to sagas, `react` runs their steps; both are ordinary consumers.
"""
