"""Durable state behind the `Store` port: four repositories, once on SQLite and once on MongoDB.

Both pass one contract suite. Nothing here decides anything about the domain: consensus, trust and badges come
from `domain`, the store makes their outcome durable, unique and numbered.
"""
