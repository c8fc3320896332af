"""What `stead chat` is made of.

``talk``      the conversation: what is sent, what came, what is asked; knows no terminal
``commands``  what can be said to the program itself (``/new``, ``/stop``, ...)
``plain``     line by line, for pipes, dumb terminals and screen readers
``live``      at a terminal: the answer comes while one writes on (``screen`` draws it, ``follower``
              and ``watch`` listen, ``rows`` breaks text into rows, ``folds`` keeps long pastes)
"""
