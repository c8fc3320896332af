"""People: their vCards, kept whole in ``knowledge/contacts/``, and who they are in the graph."""

from stead.memory.contacts.book import Book, Imported, Person
from stead.memory.contacts.entries import card_paths, entries, entry_of

__all__ = ["Book", "Imported", "Person", "card_paths", "entries", "entry_of"]
