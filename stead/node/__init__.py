"""The hands: a worker that pulls jobs from the gateway, runs them and reports.

``link`` speaks the node protocol over HTTP, ``runner`` claims and runs,
``journal`` and ``sender`` carry what happens back in order, ``spool`` keeps on
disk what the gateway has not acknowledged, ``heart`` holds the leases.
"""
