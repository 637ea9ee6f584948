"""The console: pages for people on call. Its views are frozen values, which templates render."""
