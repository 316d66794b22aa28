"""What an image file says of itself, checked before a decoder sees it.

Each format has a module that walks its headers without decoding anything; `checks` puts them together. Only the
standard library, because the processes that decode load these modules too.
"""
