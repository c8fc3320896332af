"""The nouns, states, errors and Protocols that every other room speaks in.

Standard library only: nothing here may import another room of stead.
"""
