"""Counting in multispin coding: configuration classes and features, bit-sliced."""
