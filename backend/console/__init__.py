"""The console: web pages for people on call. Their data are frozen values, which templates render."""
