"""Compiler cmsis-nn: ahead-of-time C from int8 TFLite."""
