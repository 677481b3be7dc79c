"""The store room: durable state behind the `Store` port, once on SQLite and once on MongoDB.

Both pass one contract suite (`tests/contract/test_store_*.py`). `open.build_store` picks one by URL;
the composition root is the only caller. Nothing here decides anything about the domain: consensus, trust
and badges come from `domain`, the store makes their outcome durable, unique and numbered.

    open             build_store(url, ...)                      which store a URL means
    schema           names of tables, collections, columns and indexes; migrations
    rows, cursors    records <-> stored documents; opaque page positions
    sqlite           SqliteStore, with lane (threads, group commit) and sqlite_* (the SQL, by noun)
    mongo            MongoStore, with mongo_driver (motor or PyMongo), combiner (callers that wait share
                     transactions and queries) and mongo_* (by noun)
"""
