"""Where requests go: lanes, rules that judge, balance, health, and all of it changed while it runs.

``routes.py`` has the ``Routing`` of the model door.
"""
