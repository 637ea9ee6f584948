"""The content of each page, as frozen values. Templates only lay them out, and the JSON form has the same content."""
