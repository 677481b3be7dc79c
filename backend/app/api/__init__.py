"""The REST room: routes per noun, thin: parse, call a service, shape the answer.

Holds no rule of the domain and no state. Every error leaves as an RFC 9457 problem (`problems.py`), every
answer passes the envelope (`middleware.py`).
"""
