"""Files that are filled in and handed to a tool."""
