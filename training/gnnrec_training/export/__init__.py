"""What a version publishes: its variants, ONNX files and golden queries.

May import every other room but losses/.
"""
