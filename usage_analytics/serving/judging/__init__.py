"""What ways to decide would have been worth on days that were not learned from, and which model is to be used."""
