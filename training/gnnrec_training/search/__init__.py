"""The search for the models and settings that suit the data, on the validation part alone.

May import every other room.
"""
