"""The stack: a community claim-validation service that pushes live."""
