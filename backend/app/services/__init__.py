"""Use cases. They know the ports and the domain; neither HTTP nor sockets nor a database."""
