"""The one process that sees a private key, and how others have it sign.

`starting` begins it and asks it; the rest runs within it.
"""
