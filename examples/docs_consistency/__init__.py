"""The reference application: the history of a documentation checkout as events, a read model of its documents, checks
for inconsistencies, and a report. `python -m examples.docs_consistency [PATH]`."""
