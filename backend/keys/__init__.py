"""Users' own keys: enrolled, stored encrypted, and given to one request at a time.

::

    master_keys    the keys that encrypt all others, from the environment or a file
    vault          encrypts a key for one place; decrypts it there and nowhere else
    problem        why a provider refuses a key
    store          the Protocol of the store, which `backend.database.keys` implements
    removals       tells which keys were removed, here or by another process
    request_keys   the keys of a request: decrypted when a call needs them, erased when the request is over
    keychain       enrols, lists and removes a user's keys, and hands them to a request
    rotation       encrypts every key again with a new master key
    rate_limit     limits how often a user may check keys
    check          checks with one cheap call whether a key works
    monitor        records which keys providers refuse, and notifies their owners
"""
