"""The backend application.

Imports inside this package are relative, so that both `uvicorn backend.app.main:app` and
`cd backend && uvicorn app.main:app` start it.
"""

__version__ = "0.1.0"
