"""Tables that are pulled from the API of a shop platform, page by page."""
