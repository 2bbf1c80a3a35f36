"""What a version publishes: every variant, ONNX files, golden queries, all of it put together.

May import every other room but losses/.
"""
