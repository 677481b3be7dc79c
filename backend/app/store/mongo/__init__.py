"""The store on MongoDB, through motor or PyMongo: callers that wait share transactions."""
