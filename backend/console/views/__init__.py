"""The data of each page, as frozen values. Templates render them, and the JSON form of a page has the same content."""
