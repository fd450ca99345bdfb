"""Reading files of every dialect: names, formats, text, values."""
