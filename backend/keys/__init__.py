"""Users' own keys: enrolled, kept, and handed to one request at a time.

::

    master_keys    the keys that lock all others, from the environment or a file
    vault          seals a key for one place; opens it there and nowhere else
    problem        why a provider refuses a key
    store          what has to be kept, as a Protocol; `backend.database.keys` keeps it
    removals       which keys were removed, here or by another process
    request_keys   the keys of a request: opened when a call needs them, without a value when the request is over
    keychain       enrols, lists and removes a user's keys, and hands them to a request
    rotation       a new master key for everything
    rate_limit     how often a user may check keys
    check          whether a key works, by one cheap call
    monitor        writes down which keys providers refuse, and tells their owners
"""
