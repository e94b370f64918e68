"""Side by side with peers: the same work, on the same server, in the same run.

Ratios hold on other machines, absolute figures do not.
"""
